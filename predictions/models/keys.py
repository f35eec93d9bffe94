"""The table of idempotency keys: which answer a retried request gets again."""

from django.conf import settings
from django.db import models

MAX_KEY_LENGTH = 255


class IdempotencyKey(models.Model):
    """A caller's name of one request, and the predictions that were its answer."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False)
    key = models.CharField(max_length=MAX_KEY_LENGTH)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the request, in hex.")
    # Its predictions' ids in the order of the answer; empty only inside the transaction that
    # writes them.
    prediction_ids = models.JSONField(default=list)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_keys"
        constraints = [
            # Its index also finds a request's key, and the keys of a user who is deleted.
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_unique"),
        ]
        indexes = [
            # prune_predictions: the expired ones.
            models.Index(fields=["expires_at"], name="idempotency_key_expiry"),
        ]

    def __str__(self) -> str:
        return self.key
