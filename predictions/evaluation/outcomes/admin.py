"""Outcomes in the admin, read-only."""

from collections.abc import Iterable

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.safestring import SafeString

from predictions.evaluation.outcomes.serializers import OutcomeQuery
from predictions.evaluation.quality import admin as quality_admin
from predictions.models import Outcome, Prediction
from predictions.reads import AuditedReadsAdmin
from registry.readonly_admin import change_link


@admin.register(Outcome)
class OutcomeAdmin(AuditedReadsAdmin):
    query_serializer_class = OutcomeQuery
    search_help_text = "For example prediction_id:17, or reference:order-18."
    list_display = ("id", "created_at", "prediction_link", "truth", "observed_at")
    fields = ("prediction_link", "truth", "observed_at", "created_at", "user")
    readonly_fields = ("prediction_link", "truth")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("user", "prediction__model")

    def predictions_of(self, rows: Iterable[Outcome]) -> list[Prediction]:
        return [row.prediction for row in rows]

    def get_urls(self) -> list[URLPattern]:
        # Quality and comparison have no table of their own, so they live below outcomes. They go
        # first: the admin's last pattern takes any path for a row's key.
        return [*quality_admin.url_patterns(self.admin_site), *super().get_urls()]

    @admin.display(description="prediction")
    def prediction_link(self, row: Outcome) -> SafeString:
        return change_link(Prediction, row.prediction_id, row.prediction_id)

    @admin.display(description="outcome")
    def truth(self, row: Outcome) -> str:
        return str(row.label) if row.value is None else f"{row.value:.6g}"
