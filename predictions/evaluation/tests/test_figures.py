"""Numbers and shares as texts."""

import pytest

from predictions.evaluation.figures import number, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.0004, "less than 0.1 %"),
        (0.001, "0.1 %"),
        (0.0136, "1.4 %"),
        (0.31, "31 %"),
        (0.3125, "31.2 %"),
        (0.9995, "more than 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_shares(share: float, text: str) -> None:
    assert percent(share) == text


def test_shares_with_more_digits() -> None:
    assert percent(0.267992, 4) == "26.7992 %"
    assert percent(0.5, 4) == "50 %"
    assert percent(0.999999, 2) == "more than 99.99 %"
    assert percent(0.306, 0) == "31 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.000123456, "0.000123"),
        (-3.14159, "-3.14"),
        (999.4, "999"),
        (999.9, "1,000"),
        (1234567.8, "1,234,568"),
        (1e20, "1e+20"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_with_more_digits() -> None:
    assert number(1234.5678, 6) == "1234.57"
    assert number(1234567.8, 4) == "1,234,568"
