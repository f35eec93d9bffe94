"""Removing old deliveries, and giving up those of targets that stay inactive."""

from datetime import timedelta

from django.conf import settings

from registry.database import clock
from registry.models import WebhookDelivery
from registry.work.recurring import Turn

CHUNK_ROWS = 1000
# As long after the last attempt should have been made.
GRACE = timedelta(hours=12)


def tidy(turn: Turn) -> None:
    """Give up what is far beyond its time, and delete what is older than WEBHOOK_KEEP_DAYS."""
    now = clock.now()
    expired = WebhookDelivery.objects.pending().filter(give_up_at__lt=now - GRACE)
    expired.not_under_way().update(
        state=WebhookDelivery.State.FAILED,
        locked_until=None,
        finished_at=now,
        last_error="The webhook was inactive, or no worker was running, until it was too late",
    )
    oldest_kept = now - timedelta(days=settings.WEBHOOK_KEEP_DAYS)
    old = WebhookDelivery.objects.filter(created_at__lt=oldest_kept).exclude(
        state=WebhookDelivery.State.PENDING
    )
    while turn.may_continue():
        # In chunks, so that SQLite can record predictions in between.
        chunk = list(old.order_by("created_at", "id").values_list("pk", flat=True)[:CHUNK_ROWS])
        old.filter(pk__in=chunk).delete()
        if len(chunk) < CHUNK_ROWS:
            return
