"""Which figures of quality and comparison are charted."""

from collections.abc import Mapping, Sequence

from predictions.evaluation.charts import Chart, Series
from predictions.evaluation.figures import percent
from predictions.evaluation.intervals import Interval
from registry.exact_json.values import JSONObject

# The figure that the charts show for each task, and the numbers that its axis always includes.
CHARTED_FIGURE: Mapping[str, tuple[str, Sequence[float]]] = {
    "classification": ("accuracy", (0.0, 1.0)),
    "regression": ("mae", (0.0,)),
}
TITLES = {"accuracy": "Accuracy", "mae": "Mean absolute error"}
DATE_FORMATS = {"hour": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}


def quality_charts(quality: JSONObject) -> list[Chart]:
    """Charts of what `quality_of` returns; none without a scored row."""
    figure, include = CHARTED_FIGURE[quality["task"]]
    buckets = quality["buckets"]
    by_time = Chart(
        title=f"{TITLES[figure]} by {quality['bucket']}",
        row_title=quality["bucket"].capitalize(),
        rows=[bucket["start"].strftime(DATE_FORMATS[quality["bucket"]]) for bucket in buckets],
        series=[_measured(buckets, figure)],
        axis="time",
        positions=[bucket["start"].timestamp() for bucket in buckets],
        include=include,
    )
    if by_time.is_empty:
        return []
    bins = [row for row in quality["calibration"] or () if row["rows"]]
    return [by_time, _calibration_chart(bins)] if bins else [by_time]


def comparison_charts(arms: Sequence[JSONObject]) -> list[Chart]:
    """Charts of the arms in what `compare_arms` returns; none of figures that no arm has."""
    failures = [(arm["failure_rate"], arm["failure_rate_interval"]) for arm in arms]
    latencies = [
        _dots(quantile, [(arm["latency_ms"][quantile], None) for arm in arms])
        for quantile in ("p50", "p90", "p99")
    ]
    charts = [
        _by_arm(
            "Failure rate", arms, [_dots("failure rate", failures)], (0.0,), is_percentage=True
        ),
        _by_arm("Latency in milliseconds", arms, latencies, (0.0,)),
        _agreement_chart([arm for arm in arms if arm["agreement"]]),
    ]
    for task, (figure, _) in CHARTED_FIGURE.items():
        of_task = [arm for arm in arms if arm["task"] == task]
        charts.append(_by_arm(TITLES[figure], of_task, [_measured(of_task, figure, is_line=False)]))
    return [chart for chart in charts if not chart.is_empty]


def _agreement_chart(arms: Sequence[JSONObject]) -> Chart:
    shares = [(arm["agreement"]["share"], arm["agreement"]["share_interval"]) for arm in arms]
    series = [_dots("agreement", shares)]
    return _by_arm("Agreement with the primary", arms, series, (1.0,), is_percentage=True)


def _by_arm(
    title: str,
    arms: Sequence[JSONObject],
    series: Sequence[Series],
    include: Sequence[float] = (),
    *,
    is_percentage: bool = False,
) -> Chart:
    return Chart(
        title=title,
        row_title="Version",
        rows=[f"{arm['version']} ({arm['arm']})" for arm in arms],
        series=series,
        axis="names",
        include=include,
        is_percentage=is_percentage,
    )


def _calibration_chart(bins: Sequence[JSONObject]) -> Chart:
    """Accuracy by confidence, next to the line of perfect calibration."""
    confidences = [row["mean_confidence"] for row in bins]
    return Chart(
        title="Calibration: accuracy by confidence",
        row_title="Mean confidence",
        rows=[percent(confidence) for confidence in confidences],
        series=[
            Series(
                name="perfect calibration",
                values=confidences,
                shape="dashed",
                is_background=True,
            ),
            Series(name="accuracy", values=[row["accuracy"] for row in bins], shape="dots"),
            Series(
                name="rows",
                values=[None] * len(bins),
                shape="text",
                texts=[f"{row['rows']:,}" for row in bins],
            ),
        ],
        axis="numbers",
        positions=confidences,
        include=(0.0, 1.0),
        is_percentage=True,
    )


def _measured(counted: Sequence[JSONObject], figure: str, *, is_line: bool = True) -> Series:
    all_figures = [row["classification"] or row["regression"] or {} for row in counted]
    pairs = [(figures.get(figure), figures.get(f"{figure}_interval")) for figures in all_figures]
    return Series(
        name=TITLES[figure].lower(),
        values=[value for value, _ in pairs],
        intervals=[interval for _, interval in pairs],
        shape="line" if is_line else "dots",
    )


def _dots(name: str, figures: Sequence[tuple[float | None, Interval | None]]) -> Series:
    return Series(
        name=name,
        values=[value for value, _ in figures],
        intervals=[interval for _, interval in figures],
        shape="dots",
    )
