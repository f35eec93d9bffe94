"""The days of the story: applications, late outcomes, and the monitor after midnight."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.harness.service import Installation
from benchmarks.monitoring.car_loans import CHUNK_ROWS, CHUNKS, DRIFTING_CHUNK, CarLoans, rows
from benchmarks.monitoring.clock import ShiftedClock
from benchmarks.monitoring.lender import Application, Lender

CHAMPION, CANARY = "1", "2"
VERSIONS = (CHAMPION, CANARY)
DAYS = 32
# The first of the days with dearer cars, which are the second half.
DRIFT_DAY = 17
DAY = timedelta(days=1)
# Of each half, from one set of rows that are alike.
MAX_ROWS_A_DAY = CHUNK_ROWS * CHUNKS // DAYS
NOON = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Day:
    """What is known after midnight of the day `number`, which is counted from 1."""

    number: int
    rows: dict[str, int]
    """By version, as all other mappings. A version without rows is missing."""
    estimated: dict[str, float]
    """The accuracy of the day's answers, without outcomes."""
    labelled_day: int
    """The day whose outcomes were reported today; 0 or less: there is none yet."""
    measured: dict[str, float]
    """The accuracy of the answers of the labelled day."""
    alerts: list[dict[str, Any]]
    """Those that were opened after midnight."""
    open_alerts: int
    """All that are open then."""
    canary_percent: float | None


class Story:
    """The days that end with the last midnight."""

    def __init__(
        self, loans: CarLoans, clock: ShiftedClock, *, rows_a_day: int, label_days: int
    ) -> None:
        self.start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.start -= DAYS * DAY
        self._clock, self._label_days = clock, label_days
        self._days = applications_by_day(loans, rows_a_day)
        self._seen_alerts: set[int] = set()
        # By version; known once a window has been compared with the reference.
        self.reference_accuracy: dict[str, float] = {}

    def tell(self, installation: Installation, lender: Lender) -> list[Day]:
        days = []
        for number in range(1, DAYS + 1):
            self._pass(number, lender)
            midnight = self.start + number * DAY
            # The monitor waits for two minutes, for requests that were under way.
            self._clock.set(midnight + timedelta(minutes=5))
            output = installation.manage("monitor", "--due")
            print(f"day {number}: {output.strip()}", file=sys.stderr, flush=True)
            days.append(self._look_at(number, lender))
        return days

    def _pass(self, number: int, lender: Lender) -> None:
        """A day: its applications and the outcomes of an earlier day, all at noon.

        Setting the clock takes seconds. And where a thread notices it late, it is the same day.
        """
        self._clock.set(self.start + (number - 1) * DAY + NOON)
        lender.apply(self._days[number - 1])
        if number > self._label_days:
            lender.report_outcomes(self._days[number - 1 - self._label_days])

    def _look_at(self, number: int, lender: Lender) -> Day:
        since, labelled_day = self.start + (number - 1) * DAY, number - self._label_days
        labelled_since = self.start + (labelled_day - 1) * DAY
        counted: dict[str, int] = {}
        estimated: dict[str, float] = {}
        measured: dict[str, float] = {}
        for version in VERSIONS:
            if (report := lender.report(version, since)) is not None:
                counted[version] = report["rows"]
                if (figures := estimated_quality(report)) is not None:
                    estimated[version] = figures["accuracy"]
                    self.reference_accuracy[version] = figures["reference_accuracy"]
            if labelled_day > 0:
                until = labelled_since + DAY
                accuracy = lender.measured_accuracy(version, labelled_since, until)
                measured |= {} if accuracy is None else {version: accuracy}
        alerts = lender.alerts()
        opened = [alert for alert in alerts if alert["id"] not in self._seen_alerts]
        n_open = sum(alert["closed_at"] is None for alert in alerts)
        self._seen_alerts.update(alert["id"] for alert in opened)
        canary = lender.canary()
        percent = None if canary is None else float(canary["percent"])
        return Day(number, counted, estimated, labelled_day, measured, opened, n_open, percent)


def applications_by_day(loans: CarLoans, rows_a_day: int) -> list[list[Application]]:
    """Consecutive rows: of the chunks before the drift, then of those that drift."""
    numbered = list(zip(rows(loans.analysis), loans.truth, strict=True))
    halves = numbered[: DRIFTING_CHUNK * CHUNK_ROWS], numbered[DRIFTING_CHUNK * CHUNK_ROWS :]
    days = []
    for number in range(1, DAYS + 1):
        half = halves[number >= DRIFT_DAY]
        first = (number - 1) % (DRIFT_DAY - 1) * rows_a_day
        days.append(
            [
                Application.read(row, is_repaid=bool(truth))
                for row, truth in half[first : first + rows_a_day]
            ]
        )
    return days


def reference_applications(loans: CarLoans) -> Sequence[Application]:
    return [
        Application.read(row, is_repaid=float(row["repaid"]) == 1) for row in rows(loans.reference)
    ]


def estimated_quality(report: dict[str, Any]) -> dict[str, float] | None:
    """The figures of all rows; None if the window has too few."""
    for finding in report["findings"]:
        if finding["kind"] == "estimated_quality" and not finding["segment"]:
            figures: dict[str, float] = finding["figures"]
            return figures
    return None
