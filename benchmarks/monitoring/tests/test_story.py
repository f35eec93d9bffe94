"""The story sends what the data set has, moves the service's clock, and judges what it saw."""

import argparse
import csv
import dataclasses
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.service import CommandFailed
from benchmarks.monitoring import story
from benchmarks.monitoring.car_loans import CHUNK_ROWS, CHUNKS, CarLoans, Columns
from benchmarks.monitoring.clock import ShiftedClock
from benchmarks.monitoring.lender import DATATYPES, write_applications
from benchmarks.monitoring.telling import (
    CANARY,
    CHAMPION,
    DAYS,
    DRIFT_DAY,
    MAX_ROWS_A_DAY,
    Day,
    applications_by_day,
    estimated_quality,
    reference_applications,
)

LABEL_DAYS = 14
ALERT: dict[str, Any] = {
    "kind": "estimated_quality",
    "version": CANARY,
    "severity": "severe",
    "reason": "The estimated accuracy is 92 %, in the reference 94 %",
}


def _columns(rows: int, **more: list[str]) -> Columns:
    numbers = [str(float(number)) for number in range(rows)]
    columns = {name: numbers for name, datatype in DATATYPES.items() if datatype == "FP64"}
    texts = {name: ["10%"] * rows for name, datatype in DATATYPES.items() if datatype == "BYTES"}
    ids = [str(number) for number in range(rows)]
    return {"id": ids, **columns, **texts, "repaid_loan_on_prev_car": ["False"] * rows, **more}


def _days(*, falls: bool = True, rollback_day: int | None = DRIFT_DAY + 1) -> list[Day]:
    """The two last ones have labels of answers that drift."""
    found = []
    for number in range(1, DRIFT_DAY + LABEL_DAYS + 2):
        estimated = 0.92 if falls and number >= DRIFT_DAY else 0.94
        labelled = number - LABEL_DAYS
        measured = {1: 0.938, DRIFT_DAY: 0.9}.get(labelled, 0.94 if labelled < DRIFT_DAY else 0.92)
        ended = rollback_day is not None and number >= rollback_day
        day = Day(
            number,
            rows={CHAMPION: 75} if ended else {CHAMPION: 75, CANARY: 25},
            estimated={CHAMPION: estimated} | ({} if ended else {CANARY: estimated}),
            labelled_day=labelled,
            measured={CHAMPION: measured} if labelled > 0 else {},
            alerts=[ALERT] if number == DRIFT_DAY + 1 else [],
            open_alerts=int(number > DRIFT_DAY),
            canary_percent=None if ended else 40.0,
        )
        found.append(day)
    return found


def test_days_take_their_applications_from_before_the_drift_or_after_it() -> None:
    analysis = _columns(CHUNKS * CHUNK_ROWS)
    truth = np.tile([1.0, 0.0], CHUNKS * CHUNK_ROWS // 2)

    days = applications_by_day(CarLoans({}, analysis, truth), 2)

    assert len(days) == DAYS
    assert [[one.number for one in days[place]] for place in (0, 1, DRIFT_DAY - 1)] == [
        ["loan-0", "loan-1"],
        ["loan-2", "loan-3"],
        ["loan-25000", "loan-25001"],
    ]
    assert [one.label for one in days[0]] == ["repaid", "defaulted"]
    assert days[1][0].features["car_value"] == 2.0
    assert days[1][0].features["repaid_loan_on_prev_car"] is False


def test_no_application_comes_twice() -> None:
    analysis = _columns(CHUNKS * CHUNK_ROWS)

    days = applications_by_day(
        CarLoans({}, analysis, np.zeros(CHUNKS * CHUNK_ROWS)), MAX_ROWS_A_DAY
    )

    numbers = [one.number for day in days for one in day]
    assert len(set(numbers)) == len(numbers) == DAYS * MAX_ROWS_A_DAY


def test_the_reference_is_written_with_its_labels(tmp_path: Path) -> None:
    loans = CarLoans(_columns(2, repaid=["1.0", "0.0"]), {}, np.empty(0))

    write_applications(tmp_path / "rows.csv", reference_applications(loans))

    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["repaid", "defaulted"]
    assert [row["driver_tenure"] for row in rows] == ["0.0", "1.0"]


def test_the_clock_is_set_by_its_distance_from_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    clock = ShiftedClock(Path("library.so"), tmp_path / "clock")

    clock.set(datetime.now(UTC) - timedelta(days=2))

    assert float((tmp_path / "clock").read_text()) == pytest.approx(-2 * 86400, abs=60)


def test_the_estimate_is_that_of_all_rows() -> None:
    arm = {"kind": "estimated_quality", "segment": "arm=canary", "figures": {"accuracy": 0.5}}
    drift = {"kind": "input_drift", "segment": "", "figures": {}}

    assert estimated_quality({"findings": [arm, drift]}) is None
    whole = {**arm, "segment": "", "figures": {"accuracy": 0.9}}
    assert estimated_quality({"findings": [arm, drift, whole]}) == {"accuracy": 0.9}


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "synthetic_car_loan_reference.csv").touch()

    with pytest.raises(NotInstallable, match=r"has no \S+_analysis\.csv, \S+_target\.csv"):
        CarLoans.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 299}, "--rows must be from 300 to 1562, not 299"),
        ({"rows": 1563}, "--rows must be from 300 to 1562, not 1563"),
        ({"label_days": 32}, "--label-days must be from 1 to 31, not 32"),
    ],
)
def test_options_have_bounds(options: dict[str, int], message: str) -> None:
    everything = {"rows": 1500, "label_days": LABEL_DAYS, **options}

    with pytest.raises(CommandFailed, match=message):
        story.run(argparse.Namespace(**everything))


def test_a_fall_before_labels_and_a_rollback_meet_the_targets() -> None:
    assert _missed(_days()) == []


def test_a_canary_that_stays_misses_a_target() -> None:
    assert _missed(_days(rollback_day=None)) == ["day of the rollback"]


def test_an_estimate_that_does_not_fall_misses_targets() -> None:
    assert _missed(_days(falls=False)) == [
        "fall of the estimates, the smaller",
        "estimated less measured accuracy",
    ]


def test_an_alert_that_labels_precede_misses_a_target() -> None:
    days = [dataclasses.replace(day, alerts=[]) for day in _days()]
    days[-2].alerts.append(ALERT)

    assert _missed(days) == ["day of an alert of estimated quality"]


def _missed(days: list[Day]) -> list[str]:
    return [target.name for target in story._targets(days) if not target.is_met]


def test_what_was_measured_later_stands_beside_the_estimate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = argparse.Namespace(label_days=LABEL_DAYS, json=None)

    is_missed = story._report(options, _days(), {CHAMPION: 0.94}, {"reason": "Alert 7"})

    rows = {cells[1]: cells[2:-1] for line in _lines(capsys) if len(cells := _cells(line)) > 2}
    assert not is_missed
    assert rows["1"] == ["75 / 25", "0.940 / 0.940", "0.938 / -", "-", "0", "40 %"]
    assert rows[str(DRIFT_DAY)][2] == "0.900 / -"
    assert rows[str(DRIFT_DAY + 1)][3:] == ["1, 1 of them severe", "1", "ended"]
    assert rows[str(DRIFT_DAY + LABEL_DAYS)][2] == "- / -"
    # Of 900 and 920 of a thousand, in two days of as many answers.
    assert rows["the champion in the drift"] == ["150", "0.920", "0.910"]


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]
