"""The work of retention, for the worker."""

from datetime import timedelta

from predictions.retention import pruning
from registry.work.recurring import Turn, recurring


def prune_due(turn: Turn) -> None:
    """Delete what is past the retention of its model, until the worker stops."""
    for due in pruning.past_retention():
        pruning.prune(due, may_continue=turn.may_continue)
    if turn.may_continue():
        pruning.delete_expired_keys()


RETENTION = recurring(
    "retention",
    "Deletes predictions that are past the retention_days of their registered model",
    prune_due,
    every=timedelta(hours=1),
)
