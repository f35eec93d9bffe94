"""The work of retention, for the worker."""

from datetime import timedelta

from django.conf import settings

from predictions.partitions.archiving import archive_to
from predictions.retention import partitions, pruning
from registry.work.recurring import Turn, recurring


def prune_due(turn: Turn) -> None:
    """Delete what is past the retention of its model, until the worker stops."""
    parts = pruning.past_retention()
    partitions.drop_due(
        parts, archive=archive_to(settings.RETENTION_ARCHIVE), may_continue=turn.may_continue
    )
    for due in parts:
        pruning.prune(pruning.after_grace(due), may_continue=turn.may_continue)
    if turn.may_continue():
        pruning.delete_expired_keys()


RETENTION = recurring(
    "retention",
    "Deletes predictions that are past the retention_days of their registered model",
    prune_due,
    every=timedelta(hours=1),
)
