"""The work of partitions, for the worker."""

from datetime import timedelta

from predictions.partitions.growth import create_ahead
from registry.work.recurring import Turn, recurring


def keep_ahead(turn: Turn) -> None:
    """Create what is missing of the partitions ahead; nothing for a plain table."""
    create_ahead()


PARTITIONS = recurring(
    "partitions",
    "Creates the next partitions of the log, if it has been partitioned",
    keep_ahead,
    every=timedelta(minutes=5),
)
