"""Replays in the admin: read-only, with their figures and their worst rows linked."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from predictions.evaluation.charts import bars
from predictions.models import Replay
from registry.models import ModelVersion

MAX_SHOWN_CLASSES = 20


def version_link(version: ModelVersion) -> SafeString:
    url = reverse("admin:registry_modelversion_change", args=[version.pk])
    return format_html('<a href="{}">{}</a>', url, version)


@admin.register(Replay)
class ReplayAdmin(admin.ModelAdmin):
    list_display = ("id", "created_at", "recorded_by", "answered_by", "status", "rows", "share")
    list_display_links = ("id", "created_at")
    sortable_by = ("created_at",)
    list_filter = ("status", "created_at")
    list_per_page = 100
    ordering = ("-created_at", "-id")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("name", "recorded_by", "answered_by", "status", "error", "rows"),
                    *(
                        "agreement",
                        "figures",
                        "differences",
                        "classes",
                        "quality",
                        "worst",
                        "unanswered",
                    ),
                )
            },
        ),
        (
            "What was asked",
            {
                "fields": (
                    *("since", "until", "limit", "tolerance", "created_by"),
                    *("created_at", "finished_at"),
                )
            },
        ),
    )
    readonly_fields = (
        *("recorded_by", "answered_by", "rows", "agreement"),
        *("figures", "differences", "classes", "quality", "worst", "unanswered"),
    )

    class Media:
        css = {"all": ["registry/admin.css", "predictions/evaluation.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Replay]:
        return Replay.objects.with_versions()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="recorded by")
    def recorded_by(self, replay: Replay) -> SafeString:
        return version_link(replay.from_version)

    @admin.display(description="tried")
    def answered_by(self, replay: Replay) -> SafeString:
        return version_link(replay.to_version)

    @admin.display(description="rows")
    def rows(self, replay: Replay) -> str:
        if replay.report is None:
            return f"{replay.rows_done:,} of {replay.rows_expected:,}"
        return f"{replay.report['rows']:,}"

    @admin.display(description="agreement")
    def share(self, replay: Replay) -> str:
        share = replay.report and replay.report["agreement"]
        return "-" if share is None else f"{share:.2%}"

    @admin.display(description="agreement")
    def agreement(self, replay: Replay) -> str:
        if replay.report is None or replay.report["agreement"] is None:
            return "-"
        low, high = replay.report["agreement_interval"]
        return f"{self.share(replay)} ({low:.2%} to {high:.2%}, at 95 %)"

    @admin.display(description="rows by outcome")
    def figures(self, replay: Replay) -> str:
        return _table("counts", replay)

    @admin.display(description="distance of the answers")
    def differences(self, replay: Replay) -> str:
        return _difference_chart(replay.report) if replay.report else "-"

    @admin.display(description="agreement by class")
    def classes(self, replay: Replay) -> str:
        if not replay.report or not replay.report["classes"]:
            return "-"
        return format_html("{}{}", _class_chart(replay.report), _table("pairs", replay))

    @admin.display(description="quality, by outcomes")
    def quality(self, replay: Replay) -> str:
        return _table("quality", replay) if replay.report and replay.report["quality"] else "-"

    @admin.display(description="the furthest apart")
    def worst(self, replay: Replay) -> str:
        return _table("worst", replay) if replay.report and replay.report["worst"] else "-"

    @admin.display(description="refused or failed")
    def unanswered(self, replay: Replay) -> str:
        if not replay.report or not replay.report["unanswered"]:
            return "-"
        return _table("unanswered", replay)


def _difference_chart(report: Mapping[str, Any]) -> SafeString | str:
    found = report["difference"]
    if not found:
        return "-"
    names = {"mean_absolute": "mean", "p50": "half within", "p90": "90 % within"}
    names |= {"p99": "99 % within", "max": "furthest"}
    rows = [(said, found[name], f"{found[name]:.6g}") for name, said in names.items()]
    return bars("How far apart the answers are", rows, most=found["max"])


def _class_chart(report: Mapping[str, Any]) -> SafeString:
    rows = [
        (str(one["label"]), one["agreement"], f"{one['agreement']:.1%} of {one['rows']:,}")
        for one in report["classes"]["agreement"][:MAX_SHOWN_CLASSES]
    ]
    return bars("Agreement by recorded class", rows, most=1.0)


def _table(name: str, replay: Replay) -> str:
    if replay.report is None:
        return "-"
    report = _readable(replay.report)
    return render_to_string(f"admin/predictions/replay/{name}.html", {"report": report})


def _readable(value: Any) -> Any:
    """The same with six digits of each number: differences may be tiny or huge."""
    if isinstance(value, dict):
        return {name: _readable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_readable(inner) for inner in value]
    return f"{value:.6g}" if isinstance(value, float) else value
