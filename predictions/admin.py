"""The prediction log in the admin: read-only, and as fast on ten million rows as on ten."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from predictions.evaluation.charts import MEDIA
from predictions.evaluation.explanations import admin as explanations
from predictions.evaluation.figures import percent
from predictions.evaluation.monitoring import admin as monitor_admin  # noqa: F401 -- registers itself
from predictions.evaluation.monitoring.alerts import admin as alert_admin  # noqa: F401 -- registers
from predictions.evaluation.monitoring.pages import views as monitoring_views
from predictions.evaluation.outcomes import admin as outcome_admin  # noqa: F401 -- registers itself
from predictions.evaluation.references import admin as reference_admin  # noqa: F401 -- itself
from predictions.evaluation.replays import admin as replay_admin  # noqa: F401 -- registers itself
from predictions.filters import PredictionQuery
from predictions.jobs import admin as job_admin  # noqa: F401 -- registers itself
from predictions.models import Outcome, Prediction, attach_outcomes
from predictions.reads import AuditedReadsAdmin
from predictions.retention import admin as retention_admin  # noqa: F401 -- registers itself
from registry.exact_json.values import JSONObject
from registry.models import Alias, ApiKey, ModelVersion
from registry.readonly_admin import (
    MAX_LISTED_ROWS,
    change_link,
    readable_json,
    search_link,
)

if TYPE_CHECKING:
    from django.contrib.admin.filters import _ListFilterChoices
    from django.contrib.admin.options import ModelAdmin


EXPLAIN_LINK, EXPLANATION = "explanation_link", "explanation"


class CreatedBeforeFilter(admin.SimpleListFilter):
    """Predictions made before the start of a day, in UTC."""

    title = "made before"
    parameter_name = "before"
    template = "admin/predictions/prediction/date_filter.html"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Model]"
    ) -> list[tuple[str, str]]:
        # Django hides a filter without choices. The template shows a date input instead of them.
        return [("", "any time")]

    def choices(self, changelist: ChangeList) -> "Iterator[_ListFilterChoices]":
        self.other_parameters = [
            (name, value)
            for name, values in changelist.get_filters_params().items()
            if name != self.parameter_name
            for value in values
        ]
        return super().choices(changelist)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        try:
            day = datetime.fromisoformat(self.value() or "").replace(tzinfo=UTC)
        except ValueError:
            return queryset
        return queryset.filter(created_at__lt=day)


class PredictionList(ChangeList):
    """A page of the list, with the outcomes of its rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: Any = list(self.result_list)
        attach_outcomes(rows)
        self.result_list = rows


@admin.register(Prediction)
class PredictionAdmin(AuditedReadsAdmin):
    query_serializer_class = PredictionQuery
    search_help_text = (
        "For example subject:17, reference:order-18, request_id:…, model:iris (all its versions),"
        " model:iris:1, model:iris@champion, alias:champion, arm:canary, user:ada, status:failed."
    )
    list_display = (
        "id",
        "created_at",
        "model_link",
        "answer",
        "confidence_percent",
        "outcome",
        "status",
        "reference",
        "subject",
        "alias_and_arm",
        "latency",
        "user",
        "key",
    )
    list_filter = (
        "status",
        "created_at",
        CreatedBeforeFilter,
        ("model", admin.RelatedFieldListFilter),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "model_link",
                    "status",
                    "error",
                    "answer",
                    "confidence",
                    "flag_texts",
                    "outcome",
                )
            },
        ),
        (
            "About",
            {
                "fields": (
                    "reference_link",
                    "subject_link",
                    "alias_link",
                    "arm",
                    "primary_link",
                    "shadow_links",
                )
            },
        ),
        (
            "Request",
            {"fields": ("created_at", "user_link", "key_link", "request_link", "latency")},
        ),
        ("Data", {"fields": ("prediction", "output_json", "input_json", "metadata_json")}),
        ("Explanation", {"fields": (EXPLAIN_LINK,)}),
        ("Model file", {"fields": ("sha256",)}),
    )

    @property
    def media(self) -> Media:
        # Explanations have charts.
        return super().media + MEDIA

    def get_urls(self) -> list[URLPattern]:
        return [*monitoring_views.url_patterns(self.admin_site), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """With the explanation only if it is asked for: it may take seconds."""
        if not explanations.is_wanted(request):
            return self.fieldsets
        return [
            (title, {"fields": (EXPLANATION,)} if EXPLAIN_LINK in options["fields"] else options)
            for title, options in self.fieldsets
        ]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        return (*flatten_fieldsets(self.fieldsets), EXPLANATION)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("model", "user", "api_key")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        row = super().get_object(request, object_id, from_field)
        if isinstance(row, Prediction):
            attach_outcomes([row])
        return row

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return PredictionList

    def search(self, rows: QuerySet[Model], filters: JSONObject) -> QuerySet[Model]:
        found: Any = super().search(rows, filters)
        if found.lies_in_runs:
            found = found.newest_of_runs(MAX_LISTED_ROWS)
        return cast(QuerySet[Model], found)

    @admin.display(description="model")
    def model_link(self, row: Prediction) -> SafeString:
        return change_link(ModelVersion, row.model_id, row.model)

    @admin.display(description="answer")
    def answer(self, row: Prediction) -> str:
        """The label of a classifier, else the number."""
        if isinstance(row.output, dict) and "label" in row.output:
            return str(row.output["label"])
        if row.prediction is not None:
            return f"{row.prediction:.6g}"
        return "-" if row.output is None else "several outputs"

    @admin.display(description="violated constraints")
    def flag_texts(self, row: Prediction) -> str:
        return ", ".join(row.flags or ()) or "-"

    @admin.display(description="outcome")
    def outcome(self, row: Prediction) -> SafeString | str:
        outcome = row.latest_outcome
        if not isinstance(outcome, Outcome):
            return "-"
        truth = str(outcome.label) if outcome.value is None else f"{outcome.value:.6g}"
        return change_link(Outcome, outcome.pk, truth)

    @admin.display(description="confidence")
    def confidence_percent(self, row: Prediction) -> str:
        return "-" if row.confidence is None else percent(row.confidence)

    @admin.display(description="alias, arm")
    def alias_and_arm(self, row: Prediction) -> str:
        return "-" if row.alias is None else f"{row.alias}, {row.arm}"

    @admin.display(description="latency")
    def latency(self, row: Prediction) -> str:
        return "-" if row.latency_ms is None else f"{row.latency_ms:.2f} ms"

    @admin.display(description="reference")
    def reference_link(self, row: Prediction) -> SafeString | str:
        if row.reference is None:
            return "-"
        return search_link(Prediction, row.reference, reference=row.reference)

    @admin.display(description="subject")
    def subject_link(self, row: Prediction) -> SafeString | str:
        if row.subject is None:
            return "-"
        return search_link(Prediction, row.subject, subject=row.subject)

    @admin.display(description="alias")
    def alias_link(self, row: Prediction) -> SafeString | str:
        if row.alias is None:
            return "-"
        specifier = f"{row.model.name}@{row.alias}"
        alias = Alias.objects.filter(name=row.model.name, alias=row.alias).first()
        if alias is None:
            return search_link(Prediction, f"{specifier} (removed)", model=specifier)
        return change_link(Alias, alias.pk, specifier)

    @admin.display(description="primary")
    def primary_link(self, row: Prediction) -> SafeString | str:
        if row.primary_id is None:
            return "-"
        return change_link(Prediction, row.primary_id, f"Prediction {row.primary_id}")

    @admin.display(description="shadows")
    def shadow_links(self, row: Prediction) -> SafeString | str:
        shadows = row.shadows.select_related("model").only("model__name", "model__version")
        links = ((change_link(Prediction, shadow.pk, shadow.model),) for shadow in shadows)
        return format_html_join(", ", "{}", links) or "-"

    @admin.display(description="user")
    def user_link(self, row: Prediction) -> SafeString | str:
        if row.user is None:
            return "-"
        return search_link(Prediction, row.user, user=row.user.get_username())

    @admin.display(description="API key")
    def key(self, row: Prediction) -> str:
        return row.api_key.name if row.api_key else "-"

    @admin.display(description="API key")
    def key_link(self, row: Prediction) -> SafeString | str:
        return change_link(ApiKey, row.api_key.pk, row.api_key) if row.api_key else "-"

    @admin.display(description="request ID")
    def request_link(self, row: Prediction) -> SafeString | str:
        if not row.request_id:
            return "-"
        return search_link(Prediction, row.request_id, request_id=row.request_id)

    @admin.display(description="output")
    def output_json(self, row: Prediction) -> SafeString | str:
        return readable_json(row.output)

    @admin.display(description="input data")
    def input_json(self, row: Prediction) -> SafeString | str:
        return readable_json(row.input_data)

    @admin.display(description="metadata")
    def metadata_json(self, row: Prediction) -> SafeString | str:
        return readable_json(row.metadata)

    @admin.display(description="contributions")
    def explanation_link(self, row: Prediction) -> SafeString | str:
        is_answered = row.status == Prediction.Status.SUCCEEDED
        return explanations.explain_link(row) if is_answered else "-"

    @admin.display(description="contributions")
    def explanation(self, row: Prediction) -> SafeString:
        return explanations.explanation_html(row)

    @admin.display(description="SHA-256 of the model file")
    def sha256(self, row: Prediction) -> str:
        return row.model.sha256 or "-"
