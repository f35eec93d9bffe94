"""The admin's pages of monitoring: a version by day, a variable of it, the rows behind a bar."""

from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import urlencode

import numpy as np
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from predictions.evaluation.charts import Chart
from predictions.evaluation.counting.plans import plan_of, profile_of
from predictions.evaluation.drift.bins import NumberBins, VariableProfile
from predictions.evaluation.drift.comparisons import Kind
from predictions.evaluation.drift.counts import VariableCounts
from predictions.evaluation.drift.findings import compare
from predictions.evaluation.monitoring.pages.bar_rows import bar_rows
from predictions.evaluation.monitoring.pages.bars import Bar
from predictions.evaluation.monitoring.pages.daily_counts import (
    DAY,
    alternatives,
    counted_segments,
    daily_counts,
    variable_counts,
)
from predictions.evaluation.monitoring.pages.heat_map import heat_map
from predictions.evaluation.monitoring.pages.quality_chart import quality_chart
from predictions.evaluation.monitoring.pages.queries import (
    MonitoringQuery,
    RowsQuery,
    VariableQuery,
    day_of,
)
from predictions.evaluation.monitoring.pages.variable_charts import (
    courses,
    histograms,
    segment_chart,
)
from predictions.evaluation.pages import parse_query, render
from predictions.models import Alert, CountedTo, Reference, StaleHour
from predictions.models.references import ReferenceNotFound
from predictions.reads import audit_read
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.models import ModelNotFound, ModelVersion

# How far the course of a variable goes back from the end of its window.
COURSE = 30 * DAY
MAX_SHOWN_ALERTS = 50
# Findings that say why there is no verdict.
SILENT_KINDS = frozenset({Kind.TOO_FEW_ROWS, Kind.NO_REFERENCE})

WHOLE_REFERENCE = "The charts show all rows of the reference; segments are not compared with them"

Page: TypeAlias = Callable[[HttpRequest, AdminSite, ModelVersion], HttpResponse]


def url_patterns(site: AdminSite) -> list[URLPattern]:
    """The pages, to be included in the URLs of an admin class of `site`."""

    def wrapped(page: Page) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, model_id: int) -> HttpResponse:
            # Every figure is one of the log.
            if not request.user.has_perm("predictions.view_prediction"):
                raise PermissionDenied
            try:
                return page(request, site, ModelVersion.objects.find(model_id))
            except ModelNotFound as error:
                raise Http404(str(error)) from error

        return site.admin_view(view)

    pages: Mapping[str, Page] = {"": _version, "/variable": _variable, "/rows": _rows}
    return [
        path(
            f"monitoring/<int:model_id>{suffix}/",
            wrapped(page),
            name=f"predictions_monitoring{suffix.replace('/', '_')}",
        )
        for suffix, page in pages.items()
    ]


def page_url(version_id: int, page: str = "", **parameters: object) -> str:
    """The address of one of the pages; None is left out."""
    url = reverse(f"admin:predictions_monitoring{page and f'_{page}'}", args=[version_id])
    query = urlencode(
        {name: value for name, value in parameters.items() if value not in (None, "")}
    )
    return f"{url}?{query}" if query else url


def _version(request: HttpRequest, site: AdminSite, version: ModelVersion) -> HttpResponse:
    """The heat map of a version, its open alerts, and its quality."""
    window, errors = parse_query(request, MonitoringQuery, {})
    context: JSONObject = {"model_version": version, "title": f"Monitoring of {version}"}
    context |= {"window": window, "window_errors": errors, "alerts": _alerts(request, version)}
    reference = _reference(version)
    if window and reference:
        since = day_of(window["since"])
        daily = daily_counts(reference, window["segment"], since, window["until"])
        quality = quality_chart(version, daily, with_outcomes=_may_view_outcomes(request))
        context |= _segment_choice(reference, window)
        context |= {
            "reference": reference,
            "counted_to": CountedTo.objects.values_list("reached_at", flat=True).first(),
            "stale_hours": StaleHour.objects.filter(model=version).count(),
            "notes": daily.profile.notes,
            "heat_map": heat_map(daily),
            "charts": [quality] if quality else [],
        }
    return render(request, site, "monitoring/version.html", context)


def _variable(request: HttpRequest, site: AdminSite, version: ModelVersion) -> HttpResponse:
    """One variable: the window against the reference, and its course."""
    window, errors = parse_query(request, VariableQuery, {})
    context: JSONObject = {"model_version": version, "title": f"Monitoring of {version}"}
    context |= {"window": window, "window_errors": errors}
    if window:
        context |= _variable_context(version, window)
    return render(request, site, "monitoring/variable.html", context)


def _variable_context(version: ModelVersion, window: JSONObject) -> JSONObject:
    reference = _reference(version)
    profile = profile_of(reference.pk) if reference else None
    if reference is None or profile is None or window["variable"] not in profile.variables:
        raise Http404(f"The reference of model {version} has no variable {window['variable']}")
    key, segment = window["variable"], window["segment"]
    since, until = window["since"], window["until"]
    bins = profile.variables[key]
    now = daily_counts(reference, segment, since, until).total
    own = profile.reference_counts(segment)
    before = own or profile.counts
    charts = _charts(reference, bins, window, now.variables[key], before.variables[key])
    findings = compare(profile, {segment: now})
    of_variable = [each for each in findings if each.variable == key]
    return {
        "title": f"{bins.variable.label} of {version}",
        "variable": key,
        "rows": now.rows,
        "findings": [(each.kind.replace("_", " "), each) for each in of_variable],
        "alarms": [each for each in of_variable if each.severity],
        "silence": [
            *(each.reason for each in findings if each.kind in SILENT_KINDS),
            *([] if own else [WHOLE_REFERENCE]),
        ],
        "charts": charts,
        "back": page_url(version.pk, segment=segment),
        **_segment_choice(reference, window),
    }


def _charts(
    reference: Reference,
    bins: VariableProfile,
    window: JSONObject,
    now: VariableCounts,
    before: VariableCounts,
) -> list[Chart]:
    key, segment = bins.variable.key, window["segment"]
    since, until = window["since"], window["until"]
    shared = {"variable": key, "from": f"{since:%Y-%m-%dT%H:%M}", "to": f"{until:%Y-%m-%dT%H:%M}"}

    def link(bar: Bar) -> str:
        parts = {"segment": segment, "first": bar.first, "last": bar.last}
        return page_url(reference.model_id, "rows", **shared, **parts)

    start = min(day_of(since), day_of(until) - COURSE)
    by_day = variable_counts(reference, key, [segment], start, until)[segment]
    charts = [*histograms(bins, now, before, link), *courses(bins, by_day, before)]
    beside = alternatives(counted_segments(reference, since, until), segment)
    if isinstance(bins, NumberBins) and beside:
        found = variable_counts(reference, key, ["", *beside], since, until)
        empty = VariableCounts(np.zeros(bins.size, np.int64))
        by_segment = {each: sum(days.values(), empty) for each, days in found.items()}
        links = {
            each: page_url(reference.model_id, "variable", **shared, segment=each)
            for each in by_segment
        }
        charts.append(segment_chart(bins, by_segment, before, links))
    return [chart for chart in charts if not chart.is_empty]


def _rows(request: HttpRequest, site: AdminSite, version: ModelVersion) -> HttpResponse:
    """The predictions behind a bar."""
    window, errors = parse_query(request, RowsQuery, {})
    context: JSONObject = {"model_version": version, "title": f"Rows of {version}"}
    context |= {"window": window, "window_errors": errors}
    if window:
        plan = plan_of(version.pk)
        bins = plan.profile.variables.get(window["variable"]) if plan else None
        if plan is None or bins is None:
            raise Http404(f"The reference of model {version} has no variable {window['variable']}")
        page = bar_rows(version, plan, **window)
        audit_read(
            Accessor.of(request),
            [row for row, _ in page.rows],
            target="predictions behind a bar",
            filters=request.GET.dict(),
        )
        older = {**request.GET.dict(), "before": page.next_key}
        context |= {
            "page": page,
            "label": bins.variable.label,
            "title": f"Rows of {version} by {bins.variable.label}",
            "older": page.next_key and page_url(version.pk, "rows", **older),
            "back": page_url(
                version.pk,
                "variable",
                **{name: request.GET.get(name) for name in ("variable", "from", "to", "segment")},
            ),
        }
    return render(request, site, "monitoring/rows.html", context)


def _reference(version: ModelVersion) -> Reference | None:
    """The one in force, without its profile: that is cached."""
    try:
        return Reference.objects.defer("profile", "background").of_version(version.pk)
    except ReferenceNotFound:
        return None


def _segment_choice(reference: Reference, window: JSONObject) -> JSONObject:
    segments = counted_segments(reference, window["since"], window["until"])
    # The one that was asked for may have no rows in this window.
    return {"segments": sorted({"", window["segment"], *segments})}


def _alerts(request: HttpRequest, version: ModelVersion) -> list[Alert]:
    if not request.user.has_perm("predictions.view_alert"):
        return []
    alerts = Alert.objects.filter(model=version).open().select_related("monitor")
    return list(alerts.severe_first()[:MAX_SHOWN_ALERTS])


def _may_view_outcomes(request: HttpRequest) -> bool:
    user = request.user
    names = ("predictions.view_outcome", "predictions.change_outcome")
    return any(user.has_perm(name) for name in names)
