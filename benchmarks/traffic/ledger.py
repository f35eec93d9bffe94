"""Compares what was acknowledged with what the database holds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.harness import records
from benchmarks.traffic.clients import Event
from benchmarks.traffic.kinds import Acknowledged


@dataclass(frozen=True, slots=True)
class Balance:
    """`lost` rows were acknowledged and are missing, `mixed` ones hold another input or answer
    than the acknowledged one, `doubled` inputs were recorded more than once.
    """

    acknowledged: int
    recorded: int
    lost: int
    mixed: int
    doubled: int

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.mixed or self.doubled)


def balance(database_url: str, last_id: int, events: Iterable[Event]) -> Balance:
    """The balance of the requests sent since `last_id` was the largest id of a prediction."""
    recorded = {row.id: row for row in records.rows_after(database_url, last_id)}
    by_marker = Counter(_last_number(row.input_data) for row in recorded.values())
    # A repeated key is acknowledged twice with the same id.
    acknowledged = {row for event in events for row in event.acknowledged}
    known = [row for row in acknowledged if row.prediction_id in recorded]
    return Balance(
        acknowledged=len(acknowledged),
        recorded=len(recorded),
        # An id that was acknowledged for two different rows is a loss too.
        lost=len(acknowledged) - len({row.prediction_id for row in known}),
        mixed=sum(not _agrees(row, recorded[row.prediction_id]) for row in known),
        doubled=sum(by_marker[row.marker] > 1 for row in known),
    )


def _agrees(acknowledged: Acknowledged, recorded: records.RecordedRow) -> bool:
    if _last_number(recorded.input_data) != acknowledged.marker:
        return False
    answer = (recorded.prediction, recorded.confidence)
    return acknowledged.answer is None or acknowledged.answer == answer


def _last_number(value: object) -> float | None:
    """The last feature of an input, which a request writes as a list, by name or as a tensor."""
    while isinstance(value, dict | list) and value:
        value = value[-1] if isinstance(value, list) else list(value.values())[-1]
    return float(value) if isinstance(value, int | float) else None
