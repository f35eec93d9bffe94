"""Charts of unusual figures and names."""

import pytest

from predictions.evaluation import charts
from predictions.evaluation.charts import Mark


@pytest.mark.parametrize(
    "values", [[0.0], [1e-300, 1e300], [5.0, 5.0], [0.0, 5e-324], [-1e6, 1e6], [None, 1.0]]
)
def test_charts_can_be_drawn_of_any_figures(values: list[float | None]) -> None:
    marks = [Mark("<x>", value, None if value is None else (value, value)) for value in values]

    for chart in (charts.series("t", marks), charts.intervals("t", marks)):
        assert "nan" not in chart
        assert "<x>" not in chart


def test_a_long_name_is_cut_in_the_middle() -> None:
    chart = charts.intervals("t", [Mark(f"{'v' * 50} (canary) p99", 1.0)])

    assert ">vvvvvvvv… (canary) p99<" in chart
