"""Alerts in the admin: nobody changes them, but they can be acknowledged."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from predictions.evaluation.monitoring.alerts.changes import AlertEnded, acknowledge
from predictions.models import Alert, AlertMail
from registry.access.accessor import Accessor
from registry.models import ModelVersion
from registry.readonly_admin import ReadOnlyAdmin, change_link, readable_json


class OpenFilter(admin.SimpleListFilter):
    """Open alerts first: the others are over."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", "open"), ("waiting", "open and not acknowledged"), ("closed", "closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "closed":
            return queryset.filter(closed_at__isnull=False)
        if self.value() == "waiting":
            return queryset.filter(closed_at=None, acknowledged_at=None)
        return queryset.filter(closed_at=None) if self.value() == "open" else queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = (
        "opened_at",
        "severity",
        "version",
        "what",
        "reason",
        "acknowledged_at",
        "closed_at",
    )
    list_filter = (OpenFilter, "severity", "monitor")
    list_select_related = ("monitor", "model")
    ordering = ("-opened_at", "-id")
    sortable_by = ("opened_at",)
    actions = ("acknowledge",)
    exclude = ("finding", "model")
    readonly_fields = ("version", "newest_finding")

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("predictions.change_alert")

    @admin.action(description="Acknowledge", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        for alert in queryset.select_related("monitor", "model"):
            try:
                acknowledge(alert, accessor=Accessor.of(request))
            except AlertEnded as error:
                self.message_user(request, f"{error}.", messages.WARNING)
            else:
                self.message_user(request, f"Alert {alert.pk} is acknowledged.", messages.SUCCESS)

    @admin.display(description="version")
    def version(self, row: Alert) -> SafeString:
        return change_link(ModelVersion, row.model_id, row.model)

    @admin.display(description="newest finding")
    def newest_finding(self, row: Alert) -> SafeString | str:
        return readable_json(row.finding)


@admin.register(AlertMail)
class AlertMailAdmin(ReadOnlyAdmin):
    """What was sent, and what waits for the mail server."""

    list_display = ("created_at", "event", "address", "attempts", "finished_at", "last_error")
    list_select_related = ("alert",)
