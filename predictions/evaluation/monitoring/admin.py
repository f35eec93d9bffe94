"""Monitors and their reports in the admin."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from predictions.evaluation.monitoring import changes
from predictions.evaluation.monitoring.forms import FIELDS, MonitorForm
from predictions.evaluation.monitoring.segments import notes_of
from predictions.models import Monitor, MonitorReport
from registry.access.accessor import Accessor
from registry.models import ModelVersion
from registry.readonly_admin import ReadOnlyAdmin, change_link, readable_json

if TYPE_CHECKING:
    from django import forms

    # Generic only in the stubs.
    _MonitorAdmin = admin.ModelAdmin[Monitor]
else:
    _MonitorAdmin = admin.ModelAdmin


@admin.register(Monitor)
class MonitorAdmin(_MonitorAdmin):
    form = MonitorForm
    list_display = (
        "name",
        "registered_model",
        "window_hours",
        "min_severity",
        "rolls_back_canary",
        "is_active",
        "created_at",
    )
    list_filter = ("is_active",)
    list_select_related = ("registered_model",)
    search_fields = ("name", "registered_model__name")
    ordering = ("-created_at", "-id")
    autocomplete_fields = ("registered_model",)
    show_full_result_count = False

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_readonly_fields(
        self, request: HttpRequest, obj: Monitor | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("registered_model", "created_at", "created_by")

    def get_fields(self, request: HttpRequest, obj: Monitor | None = None) -> tuple[str, ...]:
        state = () if obj is None else ("created_at", "created_by")
        return ("registered_model", *FIELDS, *state)

    def save_model(
        self, request: HttpRequest, obj: Monitor, form: "forms.ModelForm[Monitor]", change: bool
    ) -> None:
        accessor = Accessor.of(request)
        names = FIELDS if not change else [name for name in FIELDS if name in form.changed_data]
        fields: Any = {name: form.cleaned_data[name] for name in names}
        if change:
            changes.update(obj, accessor=accessor, **fields)
        else:
            obj.pk = changes.create(obj.registered_model, accessor=accessor, **fields).pk
        for note in notes_of(obj):
            self.message_user(request, f"{note}.", messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Monitor) -> None:
        changes.delete(obj, accessor=Accessor.of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
        for monitor in queryset.select_related("registered_model"):
            changes.delete(monitor, accessor=Accessor.of(request))

    def get_deleted_objects(
        self, objs: Sequence[Monitor] | QuerySet[Monitor], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # Without the reports: there may be very many, and nobody may delete them one by one.
        names = [f"Monitor: {monitor}, with its reports and alerts" for monitor in objs]
        return names, {"monitors": len(names)}, set(), []


@admin.register(MonitorReport)
class MonitorReportAdmin(ReadOnlyAdmin):
    list_display = ("until", "monitor", "version", "rows", "status")
    list_filter = ("status", "monitor")
    list_select_related = ("monitor", "model")
    ordering = ("-until", "-id")
    sortable_by = ("until",)
    exclude = ("findings", "model")
    readonly_fields = ("version", "all_findings")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        # The findings of a page of the list could have megabytes.
        is_detail = request.resolver_match and "object_id" in request.resolver_match.kwargs
        return rows if is_detail else rows.defer("findings")

    @admin.display(description="version")
    def version(self, row: MonitorReport) -> SafeString:
        return change_link(ModelVersion, row.model_id, row.model)

    @admin.display(description="findings")
    def all_findings(self, row: MonitorReport) -> SafeString | str:
        return readable_json(row.findings)
