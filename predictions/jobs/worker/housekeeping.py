"""Removing old jobs, and forgetting old idempotency keys."""

from datetime import timedelta

from django.conf import settings

from predictions.models import Job
from registry.database import clock
from registry.work.recurring import Turn

CHUNK_ROWS = 100


def tidy(turn: Turn) -> None:
    """Delete finished jobs that are older than JOB_KEEP_DAYS, with their errors by row."""
    now = clock.now()
    expired = now - timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)
    keyed = Job.objects.filter(idempotency_key__isnull=False, created_at__lte=expired)
    keyed.update(idempotency_key=None, idempotency_digest="")
    old = Job.objects.filter(finished_at__lt=now - timedelta(days=settings.JOB_KEEP_DAYS))
    while turn.may_continue():
        # In chunks, so that SQLite can record predictions in between.
        chunk = list(old.order_by("finished_at", "id").values_list("pk", flat=True)[:CHUNK_ROWS])
        # Not those that somebody has started again meanwhile.
        old.filter(pk__in=chunk).delete()
        if len(chunk) < CHUNK_ROWS:
            return
