"""A version whose inputs drift from one day to the next, with its counts."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from predictions.models import HourCounts, Prediction, Reference
from predictions.testing.counting import (
    answer,
    churn,
    fresh_counts,
    random_input,
    set_random_reference,
)
from predictions.testing.rows import NOON
from registry.models import ModelVersion

# The second day: `age` has moved, and some plans are new.
DRIFTED = NOON + timedelta(days=1)
ROWS_A_DAY = 150


def drifting_version(rows: int = ROWS_A_DAY) -> tuple[ModelVersion, Reference]:
    """Two days of predictions: the first as in the reference, the second not."""
    version = churn()
    reference = set_random_reference(version, rows=1000)
    rng = random.Random(5)  # noqa: S311 -- data
    create_day(version, rng, rows)
    create_day(version, rng, rows, created_at=DRIFTED, moved_by=25.0, plan="platinum")
    store_counts(version, reference)
    return version, reference


def store_counts(version: ModelVersion, reference: Reference) -> None:
    """What counting would store. Counting itself waits for the commit of the rows, and so for the
    end of a test.
    """
    HourCounts.objects.filter(reference=reference).delete()
    HourCounts.objects.bulk_create(
        HourCounts(
            reference=reference, segment=segment, hour=hour, rows=counts["rows"], counts=counts
        )
        for (segment, hour), counts in fresh_counts(version).items()
    )


def create_day(
    version: ModelVersion,
    rng: random.Random,
    rows: int,
    *,
    moved_by: float = 0.0,
    plan: str | None = None,
    **fields: Any,
) -> Sequence[Prediction]:
    """Rows of one hour; every third is of the plan, if there is one."""
    made = []
    for number in range(rows):
        row = random_input(rng)
        if row["age"] is not None:
            row["age"] += moved_by
        if plan and number % 3 == 0:
            row["plan"] = plan
        values = {"created_at": NOON, "latency_ms": 1.0, "alias": "live", "arm": "primary"}
        made.append(
            Prediction(model=version, input_data=row, **answer(rng), **{**values, **fields})
        )
    return Prediction.objects.bulk_create(made)
