"""The admin pages of webhooks and of their deliveries."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from registry.access.accessor import Accessor
from registry.models import Webhook, WebhookDelivery
from registry.readonly_admin import ReadOnlyAdmin, change_link, readable_json
from registry.webhooks import changes, events
from registry.webhooks.delivery import signing
from registry.webhooks.forms import FIELDS, WebhookForm
from registry.webhooks.urls import read_url

if TYPE_CHECKING:
    from django import forms

    # Generic only in the stubs.
    _WebhookAdmin = admin.ModelAdmin[Webhook]
else:
    _WebhookAdmin = admin.ModelAdmin

STATE_FIELDS = (
    "created_at",
    "created_by",
    "rotated_at",
    "failures",
    "paused_until",
    "disabled_reason",
)


@admin.register(Webhook)
class WebhookAdmin(_WebhookAdmin):
    form = WebhookForm
    list_display = ("name", "server", "is_active", "failures", "disabled_reason", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name",)
    ordering = ("-created_at", "-id")
    actions = ("send_test", "rotate_secret")
    show_full_result_count = False

    def get_readonly_fields(
        self, request: HttpRequest, obj: Webhook | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else STATE_FIELDS

    def get_fields(self, request: HttpRequest, obj: Webhook | None = None) -> tuple[str, ...]:
        return FIELDS if obj is None else (*FIELDS, *STATE_FIELDS)

    def save_model(
        self, request: HttpRequest, obj: Webhook, form: "forms.ModelForm[Webhook]", change: bool
    ) -> None:
        accessor = Accessor.of(request)
        names = FIELDS if not change else [name for name in FIELDS if name in form.changed_data]
        fields = {name: form.cleaned_data[name] for name in names}
        if change:
            changes.update(obj, accessor=accessor, **fields)
            return
        created = changes.create(accessor=accessor, **fields)
        obj.pk, obj.salt = created.pk, created.salt

    def response_add(
        self, request: HttpRequest, obj: Webhook, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._secret_page(request, [obj])

    def delete_model(self, request: HttpRequest, obj: Webhook) -> None:
        changes.delete(obj, accessor=Accessor.of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        for webhook in queryset:
            changes.delete(webhook, accessor=Accessor.of(request))

    def get_deleted_objects(
        self, objs: Sequence[Webhook] | QuerySet[Webhook], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # Without the deliveries: there may be very many, and nobody may delete them one by one.
        names = [f"Webhook: {webhook}, with its deliveries" for webhook in objs]
        return names, {"webhooks": len(names)}, set(), []

    @admin.action(description="Send a test message", permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        for webhook in queryset:
            changes.send_test(webhook, accessor=Accessor.of(request))
            text = f"A test message to {webhook} is due; see its deliveries."
            if not webhook.is_active:
                text = f"{webhook} is inactive: its test message waits until it is activated."
            self.message_user(request, text, messages.SUCCESS)

    @admin.action(description="Replace the secret", permissions=["change"])
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> HttpResponse:
        rotated = list(queryset)
        for webhook in rotated:
            changes.rotate(webhook, accessor=Accessor.of(request))
            self.log_change(request, webhook, "Replaced the secret.")
        return self._secret_page(request, rotated)

    def _secret_page(self, request: HttpRequest, webhooks: Sequence[Webhook]) -> HttpResponse:
        # In the response itself: a message would be stored in a cookie or a session.
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Secret" if len(webhooks) == 1 else "Secrets",
            "opts": self.opts,
            "secrets": [(webhook, signing.secret_of(webhook.salt)) for webhook in webhooks],
        }
        return TemplateResponse(request, "admin/registry/webhook/secret.html", context)

    @admin.display(description="server")
    def server(self, webhook: Webhook) -> str:
        return str(read_url(webhook.url).origin)


class EventFilter(admin.SimpleListFilter):
    """By declared event: Django's own filter would read every row to find the events."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(event.name, event.name) for event in (*events.declared(), events.TEST)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> QuerySet[WebhookDelivery]:
        return queryset.filter(event=self.value()) if self.value() else queryset


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """What was sent and what waits: nobody changes it, but it can be sent again."""

    list_display = (
        "created_at",
        "event",
        "model",
        "target",
        "state",
        "attempts",
        "last_status",
        "last_error",
    )
    list_filter = ("state", EventFilter, "webhook")
    list_select_related = ("webhook",)
    actions = ("resend",)
    exclude = ("payload",)
    readonly_fields = ("message",)

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_webhookdelivery")

    @admin.action(description="Send again now", permissions=["resend"])
    def resend(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        rows = list(queryset)
        for row in rows:
            changes.resend(row, accessor=Accessor.of(request))
        noun = "delivery is" if len(rows) == 1 else "deliveries are"
        self.message_user(request, f"{len(rows)} {noun} due now.", messages.SUCCESS)

    @admin.display(description="webhook")
    def target(self, row: WebhookDelivery) -> SafeString:
        return change_link(Webhook, row.webhook_id, row.webhook)

    @admin.display(description="message")
    def message(self, row: WebhookDelivery) -> SafeString | str:
        return readable_json(row.payload)
