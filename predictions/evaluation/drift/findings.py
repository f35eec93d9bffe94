"""What differs between a window and its reference, and which differences are alarms.

An alarm needs both: that chance would hardly give such a difference (Holm's adjusted p over
everything that is compared at once), and that the difference is large enough to matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictions.evaluation.drift.comparisons import (
    ALPHA,
    MIN_ROWS,
    Comparison,
    Kind,
    Sample,
    Severity,
    compared_quality,
    compared_rows,
)
from predictions.evaluation.drift.counts import Counts
from predictions.evaluation.drift.measures import holm
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.variables import compared_variable

MAX_REASON_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison of a window with its reference.

    kind, variable, segment: what was compared. `variable` is the key of a variable or the text of a
        constraint, or empty; `segment` is empty for all rows.
    severity: None if it is no alarm.
    p_value, adjusted_p: None if there was nothing to test.
    effect, value, threshold: the measure of the difference, and from where on it is a warning.
    """

    kind: Kind
    variable: str
    segment: str
    severity: Severity | None
    p_value: float | None
    adjusted_p: float | None
    effect: str
    value: float | None
    threshold: float | None
    figures: Mapping[str, Any]
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "variable": self.variable,
            "segment": self.segment,
            "severity": None if self.severity is None else self.severity.value,
            "p_value": self.p_value,
            "adjusted_p": self.adjusted_p,
            "effect": self.effect,
            "value": self.value,
            "threshold": self.threshold,
            "figures": dict(self.figures),
            "reason": self.reason,
        }


def compare(profile: Profile, counts: Mapping[str, Counts]) -> list[Finding]:
    """All comparisons of a window with the reference, alarms first, the worst of them in front.

    counts: of the window, by the profile's bins, by the segment's text; "" has all rows. A segment
        that the reference has too few rows of, or the window, gets one finding that says so.
    """
    comparisons: list[tuple[str, Comparison]] = []
    for segment, now in counts.items():
        comparisons += [(segment, each) for each in _compared(profile, segment, now)]
    tested = [i for i, (_, each) in enumerate(comparisons) if each.p_value is not None]
    adjusted = dict(
        zip(tested, holm([comparisons[i][1].p_value or 0.0 for i in tested]), strict=True)
    )
    findings = [
        _finding(segment, each, adjusted.get(i)) for i, (segment, each) in enumerate(comparisons)
    ]
    return sorted(findings, key=_rank)


def _compared(profile: Profile, segment: str, now: Counts) -> list[Comparison]:
    before = profile.reference_counts(segment)
    if before is None:
        return [Comparison(Kind.NO_REFERENCE, profile.why_not_compared(segment))]
    sample = Sample.of(now, before)
    if now.n_effective < MIN_ROWS:
        return [Comparison(Kind.TOO_FEW_ROWS, _too_few(now))]
    comparisons = compared_quality(sample) + compared_rows(sample)
    for bins in profile.variables.values():
        comparisons += compared_variable(bins, sample)
    return comparisons


def _too_few(now: Counts) -> str:
    if now.rows < MIN_ROWS:
        return f"Too few rows: {now.rows} of at least {MIN_ROWS}"
    return (
        f"Too few independent rows: the {now.rows:,} rows are about few subjects and say as much as"
        f" {now.n_effective:.0f} independent ones, of at least {MIN_ROWS}"
    )


def _finding(segment: str, comparison: Comparison, adjusted: float | None) -> Finding:
    is_significant = adjusted is not None and adjusted < ALPHA
    reason = comparison.reason
    if segment:
        reason = f"In {segment.partition(':')[2] or segment}: {reason}"
    return Finding(
        kind=comparison.kind,
        variable=comparison.variable,
        segment=segment,
        severity=comparison.severity if is_significant else None,
        p_value=comparison.p_value,
        adjusted_p=adjusted,
        effect=comparison.effect,
        value=comparison.value,
        threshold=comparison.threshold,
        figures=comparison.figures,
        reason=reason[:MAX_REASON_LENGTH],
    )


def _rank(finding: Finding) -> tuple[bool, int, bool, float, str, str]:
    p_value = 2.0 if finding.adjusted_p is None else finding.adjusted_p
    return (
        finding.severity is None,
        finding.kind.rank,
        finding.severity is not Severity.SEVERE,
        p_value,
        finding.segment,
        finding.variable,
    )
