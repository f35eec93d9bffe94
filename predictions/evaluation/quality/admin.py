"""The admin's pages of quality and comparison: the API's figures as tables and small charts."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from predictions.evaluation import charts
from predictions.evaluation.charts import Mark
from predictions.evaluation.quality.comparison import compare
from predictions.evaluation.quality.tasks import NoQuality
from predictions.evaluation.quality.version_quality import quality_of
from predictions.evaluation.quality.windows import (
    BUCKETS,
    ComparisonQuery,
    QualityQuery,
    WindowQuery,
)
from registry.aliases.serializers import AliasPlace
from registry.models import Alias, ModelNotFound, ModelVersion

# The figure that a chart shows, by the task: its name, and what its axis begins and ends with.
SHOWN: Mapping[str, tuple[str, Sequence[float]]] = {
    "classification": ("accuracy", (0.0, 1.0)),
    "regression": ("mae", (0.0,)),
}
DATE_FORMATS = {"hour": "%m-%d %H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}


def quality_page(request: HttpRequest, model_id: int) -> HttpResponse:
    """A version's quality, in all and by time."""
    try:
        version = ModelVersion.objects.find(model_id)
    except ModelNotFound as error:
        raise Http404(str(error)) from error
    window, errors = _window(request, QualityQuery, {"bucket": "day"})
    context: dict[str, Any] = {"model_version": version, "buckets": list(BUCKETS)}
    if window:
        context["bucket"] = window["bucket"]
        try:
            quality = quality_of(version, **window)
            context |= {"quality": quality, "charts": _quality_charts(quality)}
        except NoQuality as error:
            errors = [f"{error}: there is no quality to tell."]
    return _page(request, "quality.html", f"Quality of {version}", window, errors, context)


def comparison_page(request: HttpRequest, name: str, alias: str) -> HttpResponse:
    """An alias's versions side by side."""
    place = AliasPlace(data={"name": name, "alias": alias})
    try:
        if not place.is_valid():
            raise Http404(f"There is no alias {name}@{alias}")
        row = Alias.objects.find(name, alias)
    except ModelNotFound as error:
        raise Http404(str(error)) from error
    window, errors = _window(request, ComparisonQuery, {})
    context: dict[str, Any] = {"alias_row": row}
    if window:
        comparison = compare(name, alias, **window)
        arms = [
            arm
            for arm in (comparison["champion"], comparison["canary"], *comparison["shadows"])
            if arm
        ]
        context |= {"comparison": comparison, "arms": arms, "charts": _comparison_charts(arms)}
    title = f"Comparison of {row}'s versions"
    return _page(request, "comparison.html", title, window, errors, context)


def _window(
    request: HttpRequest, query_class: type[WindowQuery], defaults: Mapping[str, str]
) -> tuple[dict[str, Any] | None, list[str]]:
    """The window that was asked, None where it can not be read; and what is wrong with it."""
    given = {name: value for name, value in request.GET.dict().items() if value}
    for name in ("from", "to"):
        # A date input's value; the day begins in UTC.
        if len(given.get(name, "")) == len("2026-01-01"):
            given[name] += "T00:00:00Z"
    query = query_class(data={**defaults, **given})
    if query.is_valid():
        return query.validated_data, []
    return None, [
        f"{name}: {said[0]}" if name != "non_field_errors" else str(said[0])
        for name, said in query.errors.items()
    ]


def _page(
    request: HttpRequest,
    template: str,
    title: str,
    window: Mapping[str, Any] | None,
    errors: Sequence[str],
    context: Mapping[str, Any],
) -> HttpResponse:
    return TemplateResponse(
        request,
        f"admin/predictions/{template}",
        {
            **admin.site.each_context(request),
            "title": title,
            "window": window,
            "window_errors": errors,
            **context,
        },
    )


def _quality_charts(quality: Mapping[str, Any]) -> list[SafeString]:
    name, figures = SHOWN[quality["task"]]
    date_format = DATE_FORMATS[quality["bucket"]]
    by_time = [
        _mark(bucket["start"].strftime(date_format), bucket, name) for bucket in quality["buckets"]
    ]
    if not any(mark.reach for mark in by_time):
        return []
    drawn = [charts.series(f"{_title(name)} by {quality['bucket']}", by_time, figures=figures)]
    bins = [row for row in quality["calibration"] or () if row["rows"]]
    if bins:
        marks = [
            (row["mean_confidence"], Mark(f"{row['rows']} rows", row["accuracy"])) for row in bins
        ]
        title = "Calibration: accuracy by confidence; on the line, a confidence is what it says"
        drawn.append(charts.calibration(title, marks))
    return drawn


def _comparison_charts(arms: Sequence[Mapping[str, Any]]) -> list[SafeString]:
    drawn = []
    names = [f"{arm['version']} ({arm['arm']})" for arm in arms]
    named = list(zip(names, arms, strict=True))
    if any(arm["rows"] for arm in arms):
        failures = [
            Mark(name, arm["failure_rate"], arm["failure_rate_interval"]) for name, arm in named
        ]
        drawn.append(charts.intervals("Failure rate", failures, figures=(0.0,)))
    latencies = [
        Mark(f"{name} {quantile}", value)
        for name, arm in named
        for quantile, value in arm["latency_ms"].items()
        if value is not None
    ]
    if latencies:
        drawn.append(charts.intervals("Latency in milliseconds", latencies, figures=(0.0,)))
    agreements = [
        Mark(name, arm["agreement"]["share"], arm["agreement"]["share_interval"])
        for name, arm in named
        if arm["agreement"]
    ]
    if any(mark.reach for mark in agreements):
        drawn.append(charts.intervals("Agreement with the primary", agreements, figures=(1.0,)))
    for task, (figure, _) in SHOWN.items():
        marks = [_mark(name, arm, figure) for name, arm in named if arm["task"] == task]
        if any(mark.reach for mark in marks):
            drawn.append(charts.intervals(_title(figure), marks))
    return drawn


def _mark(name: str, counted: Mapping[str, Any], figure: str) -> Mark:
    told = counted["classification"] or counted["regression"] or {}
    return Mark(name, told.get(figure), told.get(f"{figure}_interval"))


def _title(figure: str) -> str:
    return {"accuracy": "Accuracy", "mae": "Mean absolute error"}[figure]
