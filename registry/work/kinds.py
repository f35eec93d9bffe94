"""The kinds of work that a worker does. Each app registers its own in AppConfig.ready()."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

IsStopping = Callable[[], bool]
"""Whether the worker has been told to stop: work in small steps ends after the one in hand."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is pending: how many items, and for how long the oldest has been due."""

    pending: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Kind(Generic[Item]):
    """A kind of work, whose items are rows of some table.

    `take_due` claims the next item that is due, by a compare-and-swap and for a limited time (its
    lease), or returns None. Several workers call it at once; the item of one that dies must become
    due again when the lease ends. `run` does the work and records its result; it must be safe to
    run the same item twice. An exception is logged, and the item is left to its lease.

    At most `max_concurrency` items run at a time in each worker, each in a thread of its own.
    `measure` reports the backlog for the metrics.
    """

    name: str
    description: str
    take_due: Callable[[], Item | None]
    run: Callable[[Item, IsStopping], object]
    max_concurrency: int = 1
    measure: Callable[[], Backlog] | None = None


_kinds: dict[str, Kind[Any]] = {}


def register(kind: Kind[Any]) -> None:
    """Add a kind of work; one of the same name is replaced."""
    _kinds[kind.name] = kind


def registered() -> list[Kind[Any]]:
    return list(_kinds.values())
