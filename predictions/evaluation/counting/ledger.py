"""Changes of counts: each is made by one process at a time, and only of what has not changed since
its rows were read.

Rows are read without a lock, since it takes long, and SQLite's lock would stop predictions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q

from predictions.following import is_up_to
from predictions.models import CountedTo


class Outdated(Exception):
    """Counts have changed since the rows were read: they must be read again."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last counted row, in the order of commits, and how often counts have changed."""

    transaction_id: int
    prediction_id: int
    changes: int

    @property
    def key(self) -> tuple[int, int]:
        return self.transaction_id, self.prediction_id

    @property
    def is_initial(self) -> bool:
        """Whether nothing has been counted yet."""
        return self.transaction_id < 0

    def condition(self) -> Q:
        """That of the rows that have been counted."""
        return is_up_to(*self.key)


def position() -> Position:
    row = CountedTo.objects.first() or CountedTo()
    return Position(row.transaction_id, row.prediction_id, row.changes)


@contextmanager
def changing(since: Position | None = None) -> Iterator[CountedTo]:
    """A transaction that changes counts, or what is counted; the row is saved at its end.

    Raises Outdated if anything has changed since the position was read. Without one, whatever is
    being counted at the moment becomes outdated.
    """
    with transaction.atomic():
        CountedTo.objects.bulk_create([CountedTo()], ignore_conflicts=True)
        row = CountedTo.objects.select_for_update().get()
        if since is not None and row.changes != since.changes:
            raise Outdated
        row.changes += 1
        yield row
        row.save()
