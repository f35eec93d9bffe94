"""Which findings a window has, and which of them are alarms."""

import numpy as np
import pytest

from predictions.evaluation.drift.comparisons import Kind, Severity
from predictions.evaluation.drift.counts import Counts, count, count_segments
from predictions.evaluation.drift.findings import Finding, compare
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import Categories, Column, Numbers, Table

ROWS = 2000
PLANS = ["basic", "gold", "free"]


def draw(seed: int, rows: int = ROWS, shift: float = 0.0) -> dict[str, Column]:
    rng = np.random.default_rng(seed)
    plans = rng.choice(PLANS, rows, p=[0.5, 0.3, 0.2]).tolist()
    return {
        "input:age": Numbers(rng.normal(40 + shift, 10, rows)),
        "input:plan": Categories(plans),
        "prediction": Numbers(rng.normal(0, 1, rows)),
    }


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile.build(Table(5000, draw(1, 5000)), salt="salt")


def alarms(profile: Profile, table: Table) -> list[Finding]:
    return [each for each in compare(profile, {"": count(profile, table)}) if each.severity]


def test_the_same_distribution_gives_no_alarm(profile: Profile) -> None:
    assert alarms(profile, Table(ROWS, draw(2))) == []


def test_a_moved_number_is_an_alarm_with_its_medians(profile: Profile) -> None:
    (finding,) = [
        each
        for each in alarms(profile, Table(ROWS, draw(2, shift=20)))
        if each.kind is Kind.INPUT_DRIFT
    ]

    assert finding.variable == "input:age"
    assert finding.severity is Severity.SEVERE
    assert finding.reason.startswith("age moved from a median of 39.9 to 60.8; ")
    assert "lie above the reference's 90 % quantile" in finding.reason


def test_a_reference_survives_its_json(profile: Profile) -> None:
    again = Profile.from_json(profile.as_json())

    assert again.as_json() == profile.as_json()
    assert again.digest == profile.digest


def test_counts_of_parts_add_up_to_those_of_the_whole(profile: Profile) -> None:
    columns = draw(3)
    subjects = [f"s{row % 700}" if row % 3 else None for row in range(ROWS)]
    table = Table(ROWS, columns, subjects=subjects)
    first = np.arange(ROWS) < 700

    parts = count_segments(profile, table, {"a": first, "b": ~first})

    whole = count(profile, table).as_json()
    assert (parts["a"] + parts["b"]).as_json() == whole
    assert Counts.from_json(profile, whole).as_json() == whole


def test_few_rows_give_no_verdict(profile: Profile) -> None:
    (finding,) = compare(profile, {"": count(profile, Table(99, draw(2, 99, shift=50)))})

    assert finding.kind is Kind.TOO_FEW_ROWS
    assert finding.severity is None
