"""Outcomes in the admin, read-only, and the pages of quality and comparison."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from predictions.evaluation.quality import admin as pages
from predictions.models import Outcome
from registry.readonly_admin import BoundedPaginator


@admin.register(Outcome)
class OutcomeAdmin(admin.ModelAdmin):
    list_display = ("id", "created_at", "prediction_link", "truth", "observed_at")
    # Only what an index can sort.
    sortable_by = ("created_at",)
    list_per_page = 100
    ordering = ("-created_at", "-id")
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = ("prediction_link", "truth", "observed_at", "created_at", "user")
    readonly_fields = ("prediction_link", "truth")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Outcome]:
        return super().get_queryset(request).select_related("user")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        # Before the admin's own, which take whatever is left for a row's key.
        return [
            path(
                "quality/<int:model_id>/",
                self.admin_site.admin_view(self.quality),
                name="predictions_quality",
            ),
            path(
                "comparison/<name>/<alias>/",
                self.admin_site.admin_view(self.comparison),
                name="predictions_comparison",
            ),
            *super().get_urls(),
        ]

    def quality(self, request: HttpRequest, model_id: int) -> HttpResponse:
        self._require_view(request)
        return pages.quality_page(request, model_id)

    def comparison(self, request: HttpRequest, name: str, alias: str) -> HttpResponse:
        self._require_view(request)
        return pages.comparison_page(request, name, alias)

    def _require_view(self, request: HttpRequest) -> None:
        """Figures are of outcomes and predictions: whoever may look at both may look at them."""
        if not self.has_view_permission(request) or not request.user.has_perm(
            "predictions.view_prediction"
        ):
            raise PermissionDenied

    @admin.display(description="prediction")
    def prediction_link(self, row: Outcome) -> SafeString:
        url = reverse("admin:predictions_prediction_change", args=[row.prediction_id])
        return format_html('<a href="{}">{}</a>', url, row.prediction_id)

    @admin.display(description="outcome")
    def truth(self, row: Outcome) -> str:
        return str(row.label) if row.value is None else f"{row.value:.6g}"
