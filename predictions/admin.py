"""The prediction log in the admin: read-only, and as quick on ten million rows as on ten."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from predictions.evaluation.outcomes import admin as outcome_admin  # noqa: F401 -- registers itself
from predictions.evaluation.replays import admin as replay_admin  # noqa: F401 -- registers itself
from predictions.models import Prediction
from registry.admin import readable_json
from registry.readonly_admin import BoundedPaginator


class MadeBefore(admin.SimpleListFilter):
    """Predictions made before the start of a day, in UTC."""

    title = "made before"
    parameter_name = "before"
    template = "admin/predictions/prediction/date_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Django hides a filter without choices; the template shows a date input instead.
        return [("", "any time")]

    def choices(self, changelist: Any) -> Any:
        self.kept_parameters = [
            (name, value)
            for name, values in changelist.get_filters_params().items()
            if name != self.parameter_name
            for value in values
        ]
        return super().choices(changelist)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            day = datetime.fromisoformat(self.value() or "").replace(tzinfo=UTC)
        except ValueError:
            return queryset
        return queryset.filter(created_at__lt=day)


@admin.register(Prediction)
class PredictionAdmin(admin.ModelAdmin):
    list_display = ("id", "created_at", "model_link", "answer", "certainty", "status", "latency")
    # Only what an index can sort.
    sortable_by = ("created_at",)
    list_filter = ("status", "created_at", MadeBefore, ("model", admin.RelatedFieldListFilter))
    list_per_page = 100
    ordering = ("-created_at", "-id")
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = (
        "model_link",
        "status",
        "answer",
        "prediction",
        "confidence",
        "output_json",
        "error",
        "input_json",
        "metadata_json",
        "latency_ms",
        "user",
        "request_id",
        "created_at",
        "sha256",
    )
    readonly_fields = (
        "model_link",
        "answer",
        "output_json",
        "input_json",
        "metadata_json",
        "sha256",
    )

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prediction]:
        return super().get_queryset(request).select_related("model")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="model")
    def model_link(self, row: Prediction) -> SafeString:
        url = reverse("admin:registry_modelversion_change", args=[row.model_id])
        return format_html('<a href="{}">{}</a>', url, row.model)

    @admin.display(description="answer")
    def answer(self, row: Prediction) -> str:
        """The label where there is one, else the number."""
        if isinstance(row.output, dict) and "label" in row.output:
            return str(row.output["label"])
        if row.prediction is not None:
            return f"{row.prediction:.6g}"
        return "-" if row.output is None else "several outputs"

    @admin.display(description="confidence")
    def certainty(self, row: Prediction) -> str:
        return "-" if row.confidence is None else f"{row.confidence:.1%}"

    @admin.display(description="latency")
    def latency(self, row: Prediction) -> str:
        return "-" if row.latency_ms is None else f"{row.latency_ms:.2f} ms"

    @admin.display(description="output")
    def output_json(self, row: Prediction) -> SafeString | str:
        return readable_json(row.output)

    @admin.display(description="input data")
    def input_json(self, row: Prediction) -> SafeString | str:
        return readable_json(row.input_data)

    @admin.display(description="metadata")
    def metadata_json(self, row: Prediction) -> SafeString | str:
        return readable_json(row.metadata)

    @admin.display(description="sha256 of the model file")
    def sha256(self, row: Prediction) -> str:
        return row.model.sha256 or "-"
