"""Estimated against measured quality, from day to day."""

from collections.abc import Sequence
from datetime import datetime

from predictions.evaluation.charts import Chart, Series
from predictions.evaluation.drift.counts import Counts
from predictions.evaluation.intervals import Interval, Z
from predictions.evaluation.monitoring.pages.daily_counts import DailyCounts
from predictions.evaluation.quality.tasks import NoQuality
from predictions.evaluation.quality.version_quality import quality_of
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion


def quality_chart(
    version: ModelVersion, daily: DailyCounts, *, with_outcomes: bool
) -> Chart | None:
    """None without any figure. Outcomes are of all rows, so a segment has no measured quality."""
    days = daily.days
    measured = _measured_by_day(version, daily) if with_outcomes and not daily.segment else {}
    is_classifier = daily.profile.calibrator is not None or any(
        figures["classification"] for figures in measured.values()
    )
    series = [_reference(daily, len(days), is_classifier=is_classifier)]
    if is_classifier:
        series.append(_estimated(daily, days))
    series.append(_measured([measured.get(day) for day in days], is_classifier=is_classifier))
    chart = Chart(
        title="Estimated and measured accuracy" if is_classifier else "Mean absolute error",
        row_title="Day",
        rows=[f"{day:%Y-%m-%d}" for day in days],
        series=series,
        axis="time",
        positions=[day.timestamp() for day in days],
        include=() if is_classifier else (0.0,),
        is_percentage=is_classifier,
        note="The estimate needs no outcomes. It assumes that the relation of inputs to labels has"
        " not changed since the reference."
        if is_classifier
        else "",
    )
    has_figures = any(value is not None for one in series[1:] for value in one.values)
    return chart if has_figures else None


def _measured_by_day(version: ModelVersion, daily: DailyCounts) -> dict[datetime, JSONObject]:
    try:
        quality = quality_of(version, since=daily.since, until=daily.until, bucket="day")
    except NoQuality:
        return {}
    return {bucket["start"]: bucket for bucket in quality["buckets"]}


def _reference(daily: DailyCounts, days: int, *, is_classifier: bool) -> Series:
    quality = daily.profile.quality
    value = None
    if quality is not None:
        value = quality.accuracy if is_classifier else quality.absolute_error
    return Series(name="reference", values=[value] * days, shape="dashed", is_background=True)


def _estimated(daily: DailyCounts, days: Sequence[datetime]) -> Series:
    estimates = [_estimate(daily.by_day.get(day)) for day in days]
    return Series(
        name="estimated",
        values=[value for value, _ in estimates],
        intervals=[interval for _, interval in estimates],
        shape="line",
    )


def _estimate(counts: Counts | None) -> tuple[float | None, Interval | None]:
    """The expected accuracy, and where the measured one lies in 95 % of cases if it holds."""
    if counts is None or counts.quality is None or counts.quality.accuracy is None:
        return None, None
    quality, accuracy = counts.quality, counts.quality.accuracy
    error = quality.sampling_error(counts.n_effective)
    if error is None:
        return accuracy, None
    low, high = accuracy - Z * error, accuracy + Z * error
    return accuracy, (max(low, 0.0), min(high, 1.0))


def _measured(days: Sequence[JSONObject | None], *, is_classifier: bool) -> Series:
    task, figure = ("classification", "accuracy") if is_classifier else ("regression", "mae")
    figures: list[JSONObject] = [(day and day[task]) or {} for day in days]
    return Series(
        name="measured",
        values=[each.get(figure) for each in figures],
        intervals=[each.get(f"{figure}_interval") for each in figures],
        shape="line",
    )
