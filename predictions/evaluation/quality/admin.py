"""The admin's pages of quality and comparison: the figures of the API as tables and charts."""

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path

from predictions.evaluation.pages import parse_query, render
from predictions.evaluation.quality.charts import comparison_charts, quality_charts
from predictions.evaluation.quality.comparison import compare_arms
from predictions.evaluation.quality.tasks import NoQuality
from predictions.evaluation.quality.version_quality import quality_of
from predictions.evaluation.quality.windows import BUCKETS, ComparisonQuery, QualityQuery
from registry.aliases.serializers import AliasPath
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelNotFound, ModelVersion


def url_patterns(site: AdminSite) -> list[URLPattern]:
    """The pages, to be included in the URLs of an admin class of `site`."""

    def quality(request: HttpRequest, model_id: int) -> HttpResponse:
        return _quality_page(request, site, model_id)

    def comparison(request: HttpRequest, name: str, alias: str) -> HttpResponse:
        return _comparison_page(request, site, name, alias)

    return [
        path("quality/<int:model_id>/", site.admin_view(quality), name="predictions_quality"),
        path(
            "comparison/<name>/<alias>/",
            site.admin_view(comparison),
            name="predictions_comparison",
        ),
    ]


def _quality_page(request: HttpRequest, site: AdminSite, model_id: int) -> HttpResponse:
    """The quality of a version, in total and by time."""
    _require_permissions(request)
    try:
        version = ModelVersion.objects.find(model_id)
    except ModelNotFound as error:
        raise Http404(str(error)) from error
    window, errors = parse_query(request, QualityQuery, {"bucket": "day"})
    context: JSONObject = {"model_version": version, "buckets": list(BUCKETS)}
    if window:
        context["bucket"] = window["bucket"]
        try:
            quality = quality_of(version, **window)
            context |= {"quality": quality, "charts": quality_charts(quality)}
        except NoQuality as error:
            errors = [f"There are no quality figures: {error}."]
    context |= {"title": f"Quality of {version}", "window": window, "window_errors": errors}
    return render(request, site, "quality.html", context)


def _comparison_page(request: HttpRequest, site: AdminSite, name: str, alias: str) -> HttpResponse:
    """The versions of an alias, side by side."""
    _require_permissions(request)
    alias_path = AliasPath(data={"name": name, "alias": alias})
    try:
        if not alias_path.is_valid():
            raise Http404(f"Alias {name}@{alias} not found")
        row = Alias.objects.find(name, alias)
    except ModelNotFound as error:
        raise Http404(str(error)) from error
    window, errors = parse_query(request, ComparisonQuery, {})
    context: JSONObject = {"alias_row": row}
    if window:
        comparison = compare_arms(name, alias, **window)
        arms = [
            arm
            for arm in (comparison["champion"], comparison["canary"], *comparison["shadows"])
            if arm
        ]
        context |= {"comparison": comparison, "arms": arms, "charts": comparison_charts(arms)}
    title = f"Comparison of the versions of {row}"
    context |= {"title": title, "window": window, "window_errors": errors}
    return render(request, site, "comparison.html", context)


def _require_permissions(request: HttpRequest) -> None:
    # The figures summarise outcomes and predictions. As elsewhere in the admin, a user who may
    # change outcomes may also view them.
    user = request.user
    may_view_outcomes = user.has_perm("predictions.view_outcome") or user.has_perm(
        "predictions.change_outcome"
    )
    if not may_view_outcomes or not user.has_perm("predictions.view_prediction"):
        raise PermissionDenied
