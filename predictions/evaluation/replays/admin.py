"""Replays in the admin: read-only, with their figures and links to the worst rows."""

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from predictions.evaluation.charts import MEDIA, Chart, Series
from predictions.evaluation.figures import percent
from predictions.models import Replay
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.readonly_admin import ReadOnlyAdmin, change_link

MAX_CHARTED_CLASSES = 20
DIFFERENCE_LABELS = {
    "mean_absolute": "mean",
    "p50": "median",
    "p90": "90th percentile",
    "p99": "99th percentile",
    "max": "maximum",
}


@admin.register(Replay)
class ReplayAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "created_at",
        "from_link",
        "to_link",
        "status",
        "rows",
        "agreement_percent",
    )
    list_display_links = ("id", "created_at")
    list_filter = ("status", "created_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "from_link",
                    "to_link",
                    "status",
                    "error",
                    "rows",
                    "agreement",
                    "counts",
                    "differences",
                    "classes",
                    "quality",
                    "worst",
                    "unanswered",
                )
            },
        ),
        (
            "Parameters",
            {
                "fields": (
                    "since",
                    "until",
                    "limit",
                    "tolerance",
                    "created_by",
                    "created_at",
                    "finished_at",
                )
            },
        ),
    )
    readonly_fields = (
        "from_link",
        "to_link",
        "rows",
        "agreement",
        "counts",
        "differences",
        "classes",
        "quality",
        "worst",
        "unanswered",
    )

    @property
    def media(self) -> Media:
        return super().media + MEDIA

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return Replay.objects.with_versions()

    @admin.display(description="recorded by")
    def from_link(self, replay: Replay) -> SafeString:
        return change_link(ModelVersion, replay.from_version_id, replay.from_version)

    @admin.display(description="replayed with")
    def to_link(self, replay: Replay) -> SafeString:
        return change_link(ModelVersion, replay.to_version_id, replay.to_version)

    @admin.display(description="rows")
    def rows(self, replay: Replay) -> str:
        if replay.report is None:
            return f"{replay.rows_done:,} of {replay.rows_expected:,}"
        return f"{replay.report['rows']:,}"

    @admin.display(description="agreement")
    def agreement_percent(self, replay: Replay) -> str:
        agreement = replay.report and replay.report["agreement"]
        return "-" if agreement is None else percent(agreement, 2)

    @admin.display(description="agreement")
    def agreement(self, replay: Replay) -> str:
        if replay.report is None or replay.report["agreement"] is None:
            return "-"
        low, high = (percent(end, 2) for end in replay.report["agreement_interval"])
        return f"{self.agreement_percent(replay)} (95 % interval: {low} to {high})"

    @admin.display(description="rows by result")
    def counts(self, replay: Replay) -> str:
        return _table("counts", replay)

    @admin.display(description="differences")
    def differences(self, replay: Replay) -> str:
        return _difference_chart(replay.report) if replay.report else "-"

    @admin.display(description="agreement by class")
    def classes(self, replay: Replay) -> str:
        if not replay.report or not replay.report["classes"]:
            return "-"
        return format_html("{}{}", _class_chart(replay.report), _table("pairs", replay))

    @admin.display(description="quality by outcomes")
    def quality(self, replay: Replay) -> str:
        return _table("quality", replay) if replay.report and replay.report["quality"] else "-"

    @admin.display(description="largest differences")
    def worst(self, replay: Replay) -> str:
        return _table("worst", replay) if replay.report and replay.report["worst"] else "-"

    @admin.display(description="refused, failed or incomparable")
    def unanswered(self, replay: Replay) -> str:
        if not replay.report or not replay.report["unanswered"]:
            return "-"
        return _table("unanswered", replay)


def _difference_chart(report: JSONObject) -> SafeString | str:
    difference = report["difference"]
    if not difference:
        return "-"
    values = [difference[name] for name in DIFFERENCE_LABELS]
    return Chart(
        title="Absolute difference between the answers",
        row_title="Figure",
        rows=list(DIFFERENCE_LABELS.values()),
        series=[
            Series(
                name="difference",
                values=values,
                texts=[f"{value:.6g}" for value in values],
                shape="bars",
            )
        ],
        axis="names",
    ).html()


def _class_chart(report: JSONObject) -> SafeString:
    rows = report["classes"]["agreement"][:MAX_CHARTED_CLASSES]
    return Chart(
        title="Agreement by recorded class",
        row_title="Class",
        rows=[str(row["label"]) for row in rows],
        series=[
            Series(
                name="agreement",
                values=[row["agreement"] for row in rows],
                texts=[f"{percent(row['agreement'])} of {row['rows']:,}" for row in rows],
                shape="bars",
            )
        ],
        axis="names",
        include=(1.0,),
        is_percentage=True,
    ).html()


def _table(name: str, replay: Replay) -> str:
    if replay.report is None:
        return "-"
    report = _round(replay.report)
    return render_to_string(f"admin/predictions/replay/{name}.html", {"report": report})


def _round(value: object) -> object:
    """The same JSON with six significant digits of each float, which may be tiny or huge."""
    if isinstance(value, dict):
        return {name: _round(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_round(child) for child in value]
    return f"{value:.6g}" if isinstance(value, float) else value
