"""Charts of unusual figures and names."""

import json
import math
import re

import pytest

from predictions.evaluation.charts import Chart, Series


def chart_of(values: list[float | None], **changes: object) -> Chart:
    described = {
        "title": "t",
        "row_title": "Row",
        "rows": [f"<{index}>" for index in range(len(values))],
        "series": [Series(name="<s>", values=values, shape="bars")],
        "axis": "names",
    }
    return Chart(**{**described, **changes})  # type: ignore[arg-type]


def drawing_of(html: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found
    drawing: dict[str, object] = json.loads(found[1], parse_constant=pytest.fail)
    return drawing


@pytest.mark.parametrize(
    "values", [[0.0], [1e-300, 1e300], [5.0, 5.0], [0.0, 5e-324], [None, math.nan, -math.inf], []]
)
def test_any_figures_are_valid_json(values: list[float | None]) -> None:
    html = chart_of(values).html()

    drawing = drawing_of(html)
    assert drawing["rows"] == [f"<{index}>" for index in range(len(values))]
    assert "<s>" not in html
    assert "<0>" not in html


def test_the_table_has_the_figures_with_their_intervals() -> None:
    series = [
        Series(name="share", values=[0.25, None], intervals=[(0.2, 0.3), None], shape="dots"),
        Series(name="rows", values=[None, None], texts=["1,000", "0"], shape="dots"),
    ]

    html = chart_of([0.25, None], series=series, is_percentage=True).html()

    cells = re.findall(r"<td>(.*?)</td>", html)
    assert cells == ["25 % <small>(20 % to 30 %)</small>", "1,000", "-", "0"]
    assert drawing_of(html)["series"][0]["intervals"] == [[0.2, 0.3], None]  # type: ignore[index]


def test_what_cannot_be_drawn_is_left_out_or_moved_to_where_it_can() -> None:
    intervals = [(0.0, math.inf), (math.nan, 1.0)]
    series = [Series(name="s", values=[1.0, 2.0], intervals=intervals, shape="steps")]
    edges = [-math.inf, 1.0, math.inf]

    html = chart_of(
        [1.0, 2.0], series=series, axis="bins", positions=edges, include=[math.inf, 0.0]
    ).html()

    drawing = drawing_of(html)
    assert drawing["positions"] == [1.0, 1.0, 1.0]
    assert drawing["include"] == [0.0]
    assert drawing["series"][0]["intervals"] == [None, None]  # type: ignore[index]
    nowhere = drawing_of(chart_of([1.0], axis="numbers", positions=[math.nan]).html())
    assert nowhere["positions"] == [0.0]


def test_a_row_links_to_its_page() -> None:
    html = chart_of([1.0, 2.0], links=["/rows/?bin=0", None]).html()

    assert html.count("<a ") == 1
    assert 'href="/rows/?bin=0"' in html


def test_bins_have_one_more_edge_than_rows() -> None:
    chart_of([1.0, 2.0], axis="bins", positions=[0.0, 1.0, 2.0])

    with pytest.raises(ValueError, match="t: 2 positions, not 3"):
        chart_of([1.0, 2.0], axis="bins", positions=[0.0, 1.0])


def test_a_chart_without_figures_is_empty() -> None:
    assert chart_of([None, math.nan]).is_empty
    assert not chart_of([None, 0.0]).is_empty
