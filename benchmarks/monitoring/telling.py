"""The days of the story: applications by the hour, late outcomes, and the monitor at midnight."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.harness.service import Installation
from benchmarks.monitoring.car_loans import CHUNK_ROWS, CarLoans, rows
from benchmarks.monitoring.clock import ShiftedClock
from benchmarks.monitoring.lender import Application, Lender

CHAMPION, CANARY = "1", "2"
VERSIONS = (CHAMPION, CANARY)
DAYS = 10
DAY = timedelta(days=1)
# Setting the clock takes a second, so the applications of three hours come together.
HOURS = range(1, 24, 3)
NOON = 13


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
    canary_percent: float | None


class Story:
    """Ten days that end with the last midnight."""

    def __init__(
        self, loans: CarLoans, clock: ShiftedClock, *, rows_a_day: int, label_days: int
    ) -> None:
        self.start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.start -= DAYS * DAY
        self._clock, self._label_days = clock, label_days
        self._days = applications_by_day(loans, rows_a_day)
        self._seen_alerts: set[int] = set()

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
        """A day: applications every three hours, and at noon the outcomes of an earlier day."""
        applications = self._days[number - 1]
        for place, hour in enumerate(HOURS):
            self._clock.set(self.start + (number - 1) * DAY + timedelta(hours=hour))
            lender.apply(applications[place :: len(HOURS)])
            if hour == NOON and number > self._label_days:
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
                accuracy = estimated_accuracy(report)
                estimated |= {} if accuracy is None else {version: accuracy}
            if labelled_day > 0:
                until = labelled_since + DAY
                accuracy = lender.measured_accuracy(version, labelled_since, until)
                measured |= {} if accuracy is None else {version: accuracy}
        opened = [alert for alert in lender.alerts() if alert["id"] not in self._seen_alerts]
        self._seen_alerts.update(alert["id"] for alert in opened)
        canary = lender.canary()
        percent = None if canary is None else float(canary["percent"])
        return Day(number, counted, estimated, labelled_day, measured, opened, percent)


def applications_by_day(loans: CarLoans, rows_a_day: int) -> list[list[Application]]:
    """The first rows of each chunk of the later period."""
    numbered = list(zip(rows(loans.analysis), loans.truth, strict=True))
    return [
        [
            Application.read(row, is_repaid=bool(truth))
            for row, truth in numbered[first : first + rows_a_day]
        ]
        for first in range(0, DAYS * CHUNK_ROWS, CHUNK_ROWS)
    ]


def reference_applications(loans: CarLoans) -> Sequence[Application]:
    return [
        Application.read(row, is_repaid=float(row["repaid"]) == 1) for row in rows(loans.reference)
    ]


def estimated_accuracy(report: dict[str, Any]) -> float | None:
    """None if the window has too few rows."""
    for finding in report["findings"]:
        if finding["kind"] == "estimated_quality" and not finding["segment"]:
            return float(finding["figures"]["accuracy"])
    return None
