import pytest

from benchmarks import report
from benchmarks.report import Target, format_figure, median, ratio


def test_median_of_nothing_is_missing() -> None:
    assert median([]) is None
    assert median([3, 1, 2]) == 2


def test_ratio_of_a_missing_figure_is_missing() -> None:
    assert ratio(None, 1) is None
    assert ratio(1, None) is None
    assert ratio(1, 0) is None
    assert ratio(3, 2) == 1.5


@pytest.mark.parametrize(
    ("figure", "text"),
    [(None, "-"), (0, "0.00"), (0.0123, "0.012"), (1.5, "1.50"), (12.34, "12.3"), (1234, "1,234")],
)
def test_figures_have_three_significant_digits(figure: float | None, text: str) -> None:
    assert format_figure(figure) == text


def test_target_is_met_at_its_bound() -> None:
    assert Target("rate", 5, "at least", 5).is_met
    assert Target("p99", 0.25, "at most", 0.25).is_met
    assert not Target("rate", 5, "at least", 4.9).is_met
    assert Target("rate", 5, "at least", None).row()[-1] == "not measured"


def test_table_is_aligned_markdown() -> None:
    assert report.table(["a", "b"], [["1", "long"]]).splitlines() == [
        "| a | b    |",
        "| - | ---- |",
        "| 1 | long |",
    ]
