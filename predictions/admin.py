"""The prediction log in the admin: read-only, and as fast on ten million rows as on ten."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from predictions.evaluation.outcomes import admin as outcome_admin  # noqa: F401 -- registers itself
from predictions.evaluation.replays import admin as replay_admin  # noqa: F401 -- registers itself
from predictions.models import Prediction
from predictions.retention import admin as retention_admin  # noqa: F401 -- registers itself
from registry.models import ModelVersion
from registry.readonly_admin import ReadOnlyAdmin, change_link, readable_json

if TYPE_CHECKING:
    from django.contrib.admin.filters import _ListFilterChoices
    from django.contrib.admin.options import ModelAdmin


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


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "created_at",
        "model_link",
        "answer",
        "confidence_percent",
        "status",
        "latency",
    )
    list_filter = (
        "status",
        "created_at",
        CreatedBeforeFilter,
        ("model", admin.RelatedFieldListFilter),
    )
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("model")

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

    @admin.display(description="confidence")
    def confidence_percent(self, row: Prediction) -> str:
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

    @admin.display(description="SHA-256 of the model file")
    def sha256(self, row: Prediction) -> str:
        return row.model.sha256 or "-"
