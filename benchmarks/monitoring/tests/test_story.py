"""The story sends what the data set has, moves the service's clock, and judges what it saw."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.monitoring import story
from benchmarks.monitoring.car_loans import CHUNK_ROWS, CarLoans, Columns
from benchmarks.monitoring.clock import ShiftedClock
from benchmarks.monitoring.lender import DATATYPES, write_applications
from benchmarks.monitoring.telling import (
    CANARY,
    CHAMPION,
    DAYS,
    Day,
    applications_by_day,
    estimated_accuracy,
    reference_applications,
)


def _columns(rows: int, **more: list[str]) -> Columns:
    numbers = [str(float(number)) for number in range(rows)]
    columns = {name: numbers for name, datatype in DATATYPES.items() if datatype == "FP64"}
    texts = {name: ["10%"] * rows for name, datatype in DATATYPES.items() if datatype == "BYTES"}
    ids = [str(number) for number in range(rows)]
    return {"id": ids, **columns, **texts, "repaid_loan_on_prev_car": ["False"] * rows, **more}


def _day(number: int, estimated: float, canary_percent: float | None = 25.0) -> Day:
    return Day(
        number,
        rows={CHAMPION: 75, CANARY: 25},
        estimated={CHAMPION: estimated, CANARY: estimated},
        labelled_day=number - 3,
        # The labels of the first day that drifts come on the ninth.
        measured={CHAMPION: 0.94, CANARY: 0.94} if number > 3 else {},
        alerts=[],
        canary_percent=canary_percent,
    )


def test_each_chunk_is_a_day() -> None:
    analysis = _columns(DAYS * CHUNK_ROWS)
    truth = np.tile([1.0, 0.0], DAYS * CHUNK_ROWS // 2)

    days = applications_by_day(CarLoans({}, analysis, truth), 2)

    assert [[one.number for one in day] for day in days[:2]] == [
        ["loan-0", "loan-1"],
        ["loan-5000", "loan-5001"],
    ]
    assert len(days) == DAYS
    assert [one.label for one in days[0]] == ["repaid", "defaulted"]
    assert days[1][0].features["car_value"] == 5000.0
    assert days[1][0].features["repaid_loan_on_prev_car"] is False


def test_the_reference_is_written_with_its_labels(tmp_path: Path) -> None:
    loans = CarLoans(_columns(2, repaid=["1.0", "0.0"]), {}, np.empty(0))

    write_applications(tmp_path / "rows.csv", reference_applications(loans))

    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["repaid", "defaulted"]
    assert [row["driver_tenure"] for row in rows] == ["0.0", "1.0"]


def test_the_clock_is_set_by_its_distance_from_now(tmp_path: Path) -> None:
    clock = ShiftedClock(Path("library.so"), tmp_path / "clock")

    clock.set(datetime.now(UTC) - timedelta(days=2))

    assert float((tmp_path / "clock").read_text()) == pytest.approx(-2 * 86400, abs=60)


def test_the_estimate_is_that_of_all_rows() -> None:
    arm = {"kind": "estimated_quality", "segment": "arm=canary", "figures": {"accuracy": 0.5}}
    drift = {"kind": "input_drift", "segment": "", "figures": {}}

    assert estimated_accuracy({"findings": [arm, drift]}) is None
    whole = {**arm, "segment": "", "figures": {"accuracy": 0.9}}
    assert estimated_accuracy({"findings": [arm, drift, whole]}) == 0.9


def test_a_fall_before_labels_and_a_rollback_meet_the_targets() -> None:
    good = [_day(number, 0.94) for number in range(1, 6)]
    drifted = [_day(6, 0.91), *(_day(number, 0.91, None) for number in (7, 8))]

    targets = story._targets([*good, *drifted])

    assert [target.name for target in targets if not target.is_met] == []


def test_a_canary_that_stays_misses_a_target() -> None:
    days = [_day(number, 0.94 if number < 6 else 0.91) for number in range(1, 9)]

    missed = [target for target in story._targets(days) if not target.is_met]

    assert [target.name for target in missed] == [
        "day of the rollback",
        "newest day with labels by then",
    ]
