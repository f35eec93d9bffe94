"""How many requests of the current minute the processes have leased, per rate limit."""

from django.db import models


class RateUsage(models.Model):
    """The use of one key's or one model's rate limit; one row each, used again every minute."""

    class Kind(models.TextChoices):
        KEY = "key"
        MODEL = "model"

    kind = models.CharField(max_length=10, choices=Kind)
    # The ID of the key or registered model. Not a foreign key: a row of one that is gone is
    # harmless, and a lease must not lock what it is for.
    subject_id = models.BigIntegerField()
    minute = models.BigIntegerField(help_text="Minutes since 1970, by the database's clock.")
    used = models.BigIntegerField(help_text="Requests leased in that minute.")
    lease = models.BigIntegerField(help_text="Requests of the latest lease.")

    class Meta:
        db_table = "rate_usage"
        constraints = [
            # Its index finds the row of a lease.
            models.UniqueConstraint(fields=["kind", "subject_id"], name="rate_usage_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"
