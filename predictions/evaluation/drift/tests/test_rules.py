"""Alarms of failures, constraints and latency; segments, and rows of the same subject."""

from dataclasses import replace

import numpy as np
import pytest

from predictions.evaluation.drift.comparisons import ALPHA, Kind
from predictions.evaluation.drift.counts import count, count_segments
from predictions.evaluation.drift.findings import Finding, compare
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import BoolArray, Categories, Numbers, Table

ROWS = 2000
PLANS = ["basic", "gold"]


def table(
    seed: int,
    *,
    age: float = 0.0,
    latency: float = 1.0,
    failed: float = 0.0,
    broken: float = 0.0,
    subjects: int | None = None,
    rows: int = ROWS,
) -> Table:
    """Customers with gold are twenty years older than the others."""
    rng = np.random.default_rng(seed)
    plans = rng.integers(0, 2, rows)
    return Table(
        rows,
        {
            "input:age": Numbers(rng.normal(40 + 20 * plans + age, 5, rows)),
            "input:plan": Categories([PLANS[plan] for plan in plans.tolist()]),
            "latency": Numbers(rng.lognormal(1, 0.3, rows) * latency),
        },
        failed=rng.random(rows) < failed,
        violations={"age: at most 99": rng.random(rows) < broken},
        subjects=None if subjects is None else [f"s{row % subjects}" for row in range(rows)],
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    rows = table(1, rows=5000)
    few = np.arange(5000) < 7
    masks = {"feature:plan=gold": gold(rows), "metadata:region=US": few, "metadata:region=MX": ~few}
    profile = Profile.build(rows, salt="salt").with_segments(rows, masks)
    return Profile.from_json(profile.as_json())


def alarms(profile: Profile, window: Table) -> list[Finding]:
    return [each for each in compare(profile, {"": count(profile, window)}) if each.severity]


def test_failures_are_an_alarm(profile: Profile) -> None:
    (finding,) = alarms(profile, table(2, failed=0.04))

    assert finding.kind is Kind.FAILURES
    assert finding.severity == "warning"
    assert finding.reason.endswith("% of the predictions failed (reference: 0 %)")


def test_a_few_failures_are_no_alarm_however_unusual_they_are(profile: Profile) -> None:
    def found(failures: int) -> Finding:
        window = replace(table(2, rows=220), failed=np.arange(220) < failures)
        findings = compare(profile, {"": count(profile, window)})
        return next(each for each in findings if each.kind is Kind.FAILURES)

    few, more = found(3), found(5)

    assert few.adjusted_p is not None
    assert few.adjusted_p < ALPHA
    assert few.severity is None
    assert more.severity == "warning"


def test_broken_constraints_are_an_alarm(profile: Profile) -> None:
    (finding,) = alarms(profile, table(2, broken=0.2))

    assert (finding.kind, finding.variable) == (Kind.CONSTRAINT, "age: at most 99")
    assert finding.severity == "severe"


def test_one_failure_in_a_thousand_is_no_alarm(profile: Profile) -> None:
    assert alarms(profile, table(2, failed=0.001)) == []


def test_slower_answers_are_an_alarm_and_faster_ones_are_not(profile: Profile) -> None:
    assert [each.kind for each in alarms(profile, table(2, latency=1.5))] == [Kind.LATENCY]
    assert alarms(profile, table(2, latency=0.5)) == []


def test_the_worst_alarms_come_first(profile: Profile) -> None:
    found = alarms(profile, table(2, age=30, latency=2, failed=0.2, broken=0.2))

    assert [each.kind for each in found] == [
        Kind.FAILURES,
        Kind.CONSTRAINT,
        Kind.OUT_OF_RANGE,
        Kind.INPUT_DRIFT,
        Kind.LATENCY,
    ]


def gold(window: Table) -> BoolArray:
    column = window.columns["input:plan"]
    assert isinstance(column, Categories)
    return np.array([plan == "gold" for plan in column.values])


def test_a_segment_is_compared_with_its_own_rows(profile: Profile) -> None:
    window = table(2)

    findings = compare(
        profile, count_segments(profile, window, {"feature:plan=gold": gold(window)})
    )

    assert [each for each in findings if each.severity] == []
    assert {each.segment for each in findings} == {"feature:plan=gold"}


def test_a_segment_that_drifts_is_named(profile: Profile) -> None:
    window = table(2)
    ages = window.columns["input:age"]
    assert isinstance(ages, Numbers)
    ages.values[gold(window)] += 10

    findings = compare(
        profile, count_segments(profile, window, {"feature:plan=gold": gold(window)})
    )

    (drift,) = [each for each in findings if each.severity and each.kind is Kind.INPUT_DRIFT]
    assert drift.segment == "feature:plan=gold"
    assert drift.reason.startswith("In plan=gold: age moved from a median of ")


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        ("EU", "The reference was set before a monitor had this segment; set it again to have"),
        ("US", "The reference has too few rows of this segment: 7 of at least 100"),
        ("", "The reference has no rows of this segment"),
    ],
)
def test_a_segment_without_a_reference_gets_no_verdict_but_the_reason(
    profile: Profile, region: str, reason: str
) -> None:
    profile = replace(profile, small_segments={**profile.small_segments, "metadata:region=": 0})
    counts = count_segments(profile, table(2), {f"metadata:region={region}": None})

    (finding,) = compare(profile, counts)

    assert finding.kind is Kind.NO_REFERENCE
    assert finding.reason.startswith(f"In region={region}: {reason}")


def test_arms_are_compared_with_all_rows(profile: Profile) -> None:
    counts = count_segments(profile, table(2), {"arm=canary": None})

    assert len(compare(profile, counts)) > 1


def test_rows_of_few_subjects_give_no_verdict(profile: Profile) -> None:
    (finding,) = compare(profile, {"": count(profile, table(2, age=30, subjects=40))})

    assert finding.kind is Kind.TOO_FEW_ROWS
    assert finding.reason == (
        "Too few independent rows: the 2,000 rows are about few subjects and say as much as 40"
        " independent ones, of at least 100"
    )


def test_repeated_rows_raise_no_alarm() -> None:
    """Each of 150 subjects has twenty equal rows; taken one by one, chance alone would alarm."""
    rng = np.random.default_rng(5)
    profile = Profile.build(Table(5000, {"input:x": Numbers(rng.normal(0, 1, 5000))}), salt="s")
    names = [f"s{row // 20}" for row in range(3000)]
    with_subjects, without = 0, 0
    for _ in range(100):
        columns = {"input:x": Numbers(np.repeat(rng.normal(0, 1, 150), 20))}
        with_subjects += bool(alarms(profile, Table(3000, columns, subjects=names)))
        without += bool(alarms(profile, Table(3000, columns)))

    assert with_subjects <= 3
    assert without > 5
