"""The audit trail in the admin: searched and read, never changed."""

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from registry.audit.serializers import AuditEventQuery
from registry.models import ApiKey, AuditEvent, ModelVersion, RegisteredModel
from registry.readonly_admin import SearchableAdmin, change_link, readable_json, search_link


@admin.register(AuditEvent)
class AuditEventAdmin(SearchableAdmin):
    query_serializer_class = AuditEventQuery
    search_help_text = (
        "For example user:ada, model:iris, action:predictions_read, request_id:…,"
        " created_before:2026-01-01."
    )
    list_display = ("created_at", "action", "user", "key", "model", "target", "request_id")
    list_filter = ("action", "created_at")
    fields = (
        "created_at",
        "action",
        "user_link",
        "key_link",
        "model_link",
        "target_link",
        "details_json",
        "request_link",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("user", "api_key")

    @admin.display(description="API key")
    def key(self, event: AuditEvent) -> str:
        return event.api_key.prefix if event.api_key else "-"

    @admin.display(description="user")
    def user_link(self, event: AuditEvent) -> SafeString | str:
        return change_link(User, event.user.pk, event.user) if event.user else "-"

    @admin.display(description="API key")
    def key_link(self, event: AuditEvent) -> SafeString | str:
        return change_link(ApiKey, event.api_key.pk, event.api_key) if event.api_key else "-"

    @admin.display(description="model")
    def model_link(self, event: AuditEvent) -> SafeString | str:
        row = RegisteredModel.objects.filter(name=event.model).first()
        if row is None:
            return event.model or "-"
        return change_link(RegisteredModel, row.pk, row.name)

    @admin.display(description="target")
    def target_link(self, event: AuditEvent) -> SafeString | str:
        model_id = event.details.get("model_id")
        if ModelVersion.objects.filter(pk=model_id).exists():
            return change_link(ModelVersion, model_id, event.target)
        return event.target or "-"

    @admin.display(description="details")
    def details_json(self, event: AuditEvent) -> SafeString | str:
        return readable_json(event.details)

    @admin.display(description="request ID")
    def request_link(self, event: AuditEvent) -> SafeString | str:
        if not event.request_id:
            return "-"
        return search_link(AuditEvent, event.request_id, request_id=event.request_id)
