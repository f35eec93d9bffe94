"""Which figures of quality and comparison are charted."""

from collections.abc import Mapping, Sequence

from django.utils.safestring import SafeString

from predictions.evaluation import charts
from predictions.evaluation.charts import Mark
from registry.exact_json.values import JSONObject

# The figure that the charts show for each task, and the numbers that its axis always includes.
CHARTED_FIGURE: Mapping[str, tuple[str, Sequence[float]]] = {
    "classification": ("accuracy", (0.0, 1.0)),
    "regression": ("mae", (0.0,)),
}
TITLES = {"accuracy": "Accuracy", "mae": "Mean absolute error"}
DATE_FORMATS = {"hour": "%m-%d %H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}


def quality_charts(quality: JSONObject) -> list[SafeString]:
    """Charts of what `quality_of` returns; none without a scored row."""
    figure, include = CHARTED_FIGURE[quality["task"]]
    date_format = DATE_FORMATS[quality["bucket"]]
    by_time = [
        _mark(bucket["start"].strftime(date_format), bucket, figure)
        for bucket in quality["buckets"]
    ]
    if not any(mark.numbers for mark in by_time):
        return []
    drawn = [charts.series(f"{TITLES[figure]} by {quality['bucket']}", by_time, include=include)]
    bins = [row for row in quality["calibration"] or () if row["rows"]]
    if bins:
        marks = [
            (row["mean_confidence"], Mark(f"{row['rows']} rows", row["accuracy"])) for row in bins
        ]
        title = "Calibration: accuracy by confidence, with the line of perfect calibration"
        drawn.append(charts.calibration(title, marks))
    return drawn


def comparison_charts(arms: Sequence[JSONObject]) -> list[SafeString]:
    """Charts of the arms in what `compare_arms` returns."""
    named = [(f"{arm['version']} ({arm['arm']})", arm) for arm in arms]
    drawn = []
    if any(arm["rows"] for arm in arms):
        failures = [
            Mark(name, arm["failure_rate"], arm["failure_rate_interval"]) for name, arm in named
        ]
        drawn.append(charts.intervals("Failure rate", failures, include=(0.0,)))
    latencies = [
        Mark(f"{name} {quantile}", value)
        for name, arm in named
        for quantile, value in arm["latency_ms"].items()
        if value is not None
    ]
    if latencies:
        drawn.append(charts.intervals("Latency in milliseconds", latencies, include=(0.0,)))
    agreements = [
        Mark(name, arm["agreement"]["share"], arm["agreement"]["share_interval"])
        for name, arm in named
        if arm["agreement"]
    ]
    if any(mark.numbers for mark in agreements):
        drawn.append(charts.intervals("Agreement with the primary", agreements, include=(1.0,)))
    for task, (figure, _) in CHARTED_FIGURE.items():
        marks = [_mark(name, arm, figure) for name, arm in named if arm["task"] == task]
        if any(mark.numbers for mark in marks):
            drawn.append(charts.intervals(TITLES[figure], marks))
    return drawn


def _mark(name: str, counted: JSONObject, figure: str) -> Mark:
    figures = counted["classification"] or counted["regression"] or {}
    return Mark(name, figures.get(figure), figures.get(f"{figure}_interval"))
