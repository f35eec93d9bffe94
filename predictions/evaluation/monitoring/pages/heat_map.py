"""The heat map of a version: how far each variable was from the reference on each day."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from predictions.evaluation.drift.comparisons import Kind, Severity
from predictions.evaluation.drift.findings import Finding, compare
from predictions.evaluation.figures import percent
from predictions.evaluation.monitoring.pages.daily_counts import DAY, DailyCounts

DRIFT_KINDS = frozenset(
    {Kind.INPUT_DRIFT, Kind.PREDICTION_DRIFT, Kind.CONFIDENCE_DRIFT, Kind.LATENCY}
)
# What a cell says of an alarm that is none of drift.
WORDS: Mapping[Kind, str] = {
    Kind.MISSING_VALUES: "missing",
    Kind.UNPARSABLE_VALUES: "invalid",
    Kind.NEW_CATEGORIES: "new",
    Kind.OUT_OF_RANGE: "range",
    Kind.CONSTRAINT: "broken",
    Kind.FAILURES: "failed",
    Kind.ESTIMATED_QUALITY: "worse",
}
# From which value on a cell has shade 1, 2, 3: from half of what makes a warning on, what makes a
# warning, and what is severe.
SHADES = (0.05, 0.1, 0.25)
# Of rows that have no variable of a profile.
ROW_LABELS = {Kind.ESTIMATED_QUALITY: "Estimated accuracy", Kind.FAILURES: "Failed"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One variable on one day.

    text: the debiased PSI, or a share. word: what an alarm is about, if it is not about the text.
    reason: all that is to say, for tooltips.
    """

    day: datetime
    text: str = ""
    shade: int = 0
    severity: Severity | None = None
    word: str = ""
    reason: str = ""

    @property
    def until(self) -> datetime:
        return self.day + DAY


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One variable, or a share of the rows if `variable` is empty."""

    label: str
    variable: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class HeatMap:
    days: Sequence[datetime]
    rows_by_day: Sequence[int]
    rows: Sequence[HeatRow]


def heat_map(daily: DailyCounts) -> HeatMap:
    """Each day is compared as if it were a monitor's window."""
    days = daily.days
    by_row: dict[tuple[str, str], dict[datetime, Cell]] = defaultdict(dict)
    silent: dict[datetime, Finding] = {}
    for day, counts in daily.by_day.items():
        findings = compare(daily.profile, {daily.segment: counts})
        for key, found in _by_row(daily, findings).items():
            by_row[key][day] = _cell(day, found)
        for finding in findings:
            if finding.kind in (Kind.TOO_FEW_ROWS, Kind.NO_REFERENCE):
                silent[day] = finding
    # Quality and failures, answers, constraints, inputs.
    shares = [(label, "") for label in ROW_LABELS.values()]
    variables = [(bins.variable.label, key) for key, bins in daily.profile.variables.items()]
    variables.sort(key=lambda row: row[1].startswith("input:"))
    constraints = sorted(key for key in by_row if key not in {*shares, *variables})
    return HeatMap(
        days,
        [daily.by_day[day].rows if day in daily.by_day else 0 for day in days],
        [
            HeatRow(
                label,
                variable if variable in daily.profile.variables else "",
                [_shown(by_row[label, variable], silent, day) for day in days],
            )
            for label, variable in [*shares, *constraints, *variables]
            if (label, variable) in by_row or variable in daily.profile.variables
        ],
    )


def _by_row(
    daily: DailyCounts, findings: Sequence[Finding]
) -> dict[tuple[str, str], list[Finding]]:
    rows: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        bins = daily.profile.variables.get(finding.variable)
        if bins is not None:
            rows[bins.variable.label, finding.variable].append(finding)
        elif finding.kind in ROW_LABELS:
            rows[ROW_LABELS[finding.kind], ""].append(finding)
        elif finding.kind is Kind.CONSTRAINT:
            rows[finding.variable, finding.variable].append(finding)
    return rows


def _shown(
    cells: Mapping[datetime, Cell], silent: Mapping[datetime, Finding], day: datetime
) -> Cell:
    if day in cells:
        return cells[day]
    if day in silent:
        is_few = silent[day].kind is Kind.TOO_FEW_ROWS
        return Cell(day, "few" if is_few else "-", reason=silent[day].reason)
    return Cell(day)


def _cell(day: datetime, findings: Sequence[Finding]) -> Cell:
    """Alarms come first in `findings`, the worst in front."""
    alarms = [each for each in findings if each.severity]
    measured = next((each for each in findings if _is_charted(each)), None)
    text, shade = "few", 0
    if measured is not None:
        text, shade = _measure(measured)
    others = [WORDS[each.kind] for each in alarms if each is not measured and each.kind in WORDS]
    return Cell(
        day,
        text,
        # An alarm about something else is as dark as one about drift.
        max([shade, *(3 if each.severity is Severity.SEVERE else 2 for each in alarms)]),
        max((each.severity for each in alarms if each.severity), key=_is_severe, default=None),
        others[0] if others else "",
        "\n".join(each.reason for each in alarms or findings[:1]),
    )


def _is_charted(finding: Finding) -> bool:
    is_share = finding.kind in ROW_LABELS or finding.kind is Kind.CONSTRAINT
    return finding.value is not None and (is_share or finding.kind in DRIFT_KINDS)


def _measure(finding: Finding) -> tuple[str, int]:
    value = finding.value or 0.0
    if finding.kind is Kind.ESTIMATED_QUALITY:
        return percent(finding.figures["accuracy"]), 0
    if finding.kind not in DRIFT_KINDS:
        return percent(finding.figures["share"]), 0
    # Below zero, the difference is smaller than chance makes it.
    return f"{max(value, 0.0):.2f}", sum(value >= limit for limit in SHADES)


def _is_severe(severity: Severity) -> bool:
    return severity is Severity.SEVERE
