"""Columns of any kind can be profiled, counted and compared."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictions.evaluation.drift.counts import Counts, count
from predictions.evaluation.drift.findings import Finding, compare
from predictions.evaluation.drift.profiles import InvalidProfile, Profile
from predictions.evaluation.drift.tables import Categories, Column, InvalidTable, Numbers, Table

EXTREMES = [math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0, 5e-324, 1.7e308, -1.7e308]
numbers = st.sampled_from(EXTREMES) | st.floats()
categories = st.none() | st.text(max_size=3) | st.just("long" * 50)


def table(column: Column) -> Table:
    # Repeated, as fewer than 100 rows get no verdict.
    repeated: Column
    if isinstance(column, Numbers):
        repeated = Numbers(np.tile(column.values, 120))
    else:
        repeated = Categories(list(column.values) * 120)
    return Table(len(repeated), {"input:x": repeated})


def found(reference: Column, window: Column) -> list[Finding]:
    profile = Profile.build(table(reference), salt="s")
    profile = Profile.from_json(profile.as_json())
    counts = count(profile, table(window))
    return compare(profile, {"": Counts.from_json(profile, counts.as_json())})


def numbers_of(values: list[float]) -> Numbers:
    return Numbers(np.array(values, np.float64))


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=8), st.lists(numbers, min_size=1, max_size=8))
def test_any_numbers(reference: list[float], window: list[float]) -> None:
    for finding in found(numbers_of(reference), numbers_of(window)):
        assert all(
            value is None or not isinstance(value, float) or math.isfinite(value)
            for value in [*finding.figures.values(), finding.value, finding.p_value]
        )


@settings(deadline=None)
@given(st.lists(categories, min_size=1, max_size=8), st.lists(categories, min_size=1, max_size=8))
def test_any_categories(reference: list[str | None], window: list[str | None]) -> None:
    findings = found(Categories(reference), Categories(window))

    if reference == window:
        assert [finding for finding in findings if finding.severity] == []


def test_a_constant_that_changes_is_found() -> None:
    kinds = {f.kind.value for f in found(numbers_of([3.0]), numbers_of([4.0])) if f.severity}

    assert "out_of_range" in kinds


def test_a_column_that_becomes_empty_is_found() -> None:
    alarms = [f for f in found(numbers_of([3.0, 4.0]), numbers_of([math.nan])) if f.severity]

    assert [(f.kind.value, f.reason) for f in alarms] == [
        ("missing_values", "100 % of x are missing (reference: 0 %)")
    ]


def test_without_values_nothing_is_said_of_their_range_or_their_categories() -> None:
    numbers = found(numbers_of([3.0, 4.0]), numbers_of([math.nan]))
    categories = found(Categories(["a", "b"]), Categories([None]))

    for kind, findings in (("out_of_range", numbers), ("new_categories", categories)):
        (finding,) = (each for each in findings if each.kind == kind)
        assert finding.value is None
        assert "too few values, 0 of" in finding.reason


def test_numbers_that_become_text_are_found() -> None:
    profile = Profile.build(table(numbers_of([1.0, 2.0])), salt="s")
    texts = Numbers(np.zeros(200), unparsable=np.ones(200, np.bool_))

    findings = compare(profile, {"": count(profile, Table(200, {"input:x": texts}))})

    assert findings[0].kind == "unparsable_values"
    assert findings[0].severity == "severe"


def test_new_categories_are_named() -> None:
    alarms = [f for f in found(Categories(["a", "b"]), Categories(["a", "b", "c"])) if f.severity]

    (reason,) = [f.reason for f in alarms if f.kind == "new_categories"]
    assert reason == (
        "33.3 % of x are categories that the reference lacks: “c” (120 rows) (expected: 0 %)"
    )


def test_a_column_of_another_kind_counts_nothing() -> None:
    assert [f for f in found(numbers_of([1.0, 2.0]), Categories(["a"])) if f.variable] == []


def test_an_empty_reference_is_refused() -> None:
    with pytest.raises(InvalidProfile, match="at least one row"):
        Profile.build(Table(0), salt="s")


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidTable, match=r"columns\['input:x'\] has 1 rows; the table has 2"):
        Table(2, {"input:x": numbers_of([1.0])})
