"""The table of idempotency keys, which let a retried request receive its first answer."""

from django.conf import settings
from django.db import models

MAX_KEY_LENGTH = 255


class IdempotencyKey(models.Model):
    """A key that a caller chose for one request, and the predictions that answered it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False)
    key = models.CharField(max_length=MAX_KEY_LENGTH)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the request, in hexadecimal.")
    # In the order of the response. Empty only inside the transaction that writes them.
    prediction_ids = models.JSONField(default=list)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_keys"
        constraints = [
            # Its index finds the key of a request, and the keys of a deleted user.
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_unique"),
        ]
        indexes = [
            # prune_predictions: expired keys.
            models.Index(fields=["expires_at"], name="idempotency_key_expiry"),
        ]

    def __str__(self) -> str:
        return self.key
