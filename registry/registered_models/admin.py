"""Registered models in the admin, with who may do what with them."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry.access import rights
from registry.access.accessor import Accessor
from registry.aliases.approvals import requests
from registry.aliases.validation import MoveRefused
from registry.models import Grant, RegisteredModel, Right
from registry.registered_models import changes
from registry.registered_models.grants import record_grant

if TYPE_CHECKING:
    # Generic only in the stubs.
    _RegisteredModelAdmin = admin.ModelAdmin[RegisteredModel]
    _GrantInline = admin.TabularInline[Grant, RegisteredModel]
else:
    _RegisteredModelAdmin, _GrantInline = admin.ModelAdmin, admin.TabularInline

FIELDS = (
    "description",
    "owner",
    "contact",
    "tags",
    "is_private",
    "needs_approval",
    "retention_days",
    "rate_limit",
)


class GrantInline(_GrantInline):
    model = Grant
    extra = 0
    fields = ("user", "group", *Right.values)
    autocomplete_fields = ("user", "group")


@admin.register(RegisteredModel)
class RegisteredModelAdmin(_RegisteredModelAdmin):
    list_display = ("name", "owner", "is_private", "needs_approval", "retention_days", "links")
    list_filter = ("is_private", "needs_approval")
    list_select_related = ("owner",)
    search_fields = ("name", "contact")
    ordering = ("-created_at", "-id")
    autocomplete_fields = ("owner",)
    inlines = (GrantInline,)
    actions = ("ask_to_end_approval",)
    show_full_result_count = False

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_fields(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> tuple[str, ...]:
        return ("name", *FIELDS) if obj is None else ("name", "links", "created_at", *FIELDS)

    def get_readonly_fields(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        # Ending approval must itself be approved.
        fixed = ["needs_approval"] if obj.needs_approval else []
        if rights.held_on(Accessor.of(request), obj) != set(Right):
            # Another owner gets every right: see `changes.change`.
            fixed.append("owner")
        return ("name", "links", "created_at", *fixed)

    def has_delete_permission(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> bool:
        return super().has_delete_permission(request, obj) and (
            obj is None or not changes.is_in_use(obj.name)
        )

    def save_model(
        self, request: HttpRequest, obj: RegisteredModel, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        target = "changed" if change else "created"
        changes.record_change(target, obj, Accessor.of(request), changed)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        # As they were: a grant that is deleted has the values of its form by then, and no key.
        before = {grant.pk: grant for grant in form.instance.grants.select_related("user", "group")}
        deleted = [deleted_form.instance.pk for deleted_form in formset.deleted_forms]
        super().save_formset(request, form, formset, change)
        accessor = Accessor.of(request)
        for grant in formset.new_objects:
            record_grant(grant, accessor, set(), set(grant.rights))
        for grant, _ in formset.changed_objects:
            record_grant(grant, accessor, set(before[grant.pk].rights), set(grant.rights))
        for grant in (before[key] for key in deleted if key in before):
            record_grant(grant, accessor, set(grant.rights), set())

    def delete_model(self, request: HttpRequest, obj: RegisteredModel) -> None:
        changes.delete(name=obj.name, accessor=Accessor.of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RegisteredModel]) -> None:
        for model in queryset:
            self.delete_model(request, model)

    @admin.action(
        description="Ask somebody else to end the approval of moves", permissions=["change"]
    )
    def ask_to_end_approval(
        self, request: HttpRequest, queryset: QuerySet[RegisteredModel]
    ) -> None:
        accessor = Accessor.of(request)
        for model in queryset.filter(needs_approval=True):
            try:
                asked = requests.ask_to_end_approval(name=model.name, accessor=accessor)
            except MoveRefused as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                message = f"Request {asked.pk} waits for somebody else's approval."
                self.message_user(request, message, messages.SUCCESS)

    @admin.display(description="links")
    def links(self, model: RegisteredModel) -> SafeString:
        # Encoded, because a name may contain a plus sign.
        query = urlencode({"q": model.name})
        versions, aliases, asked = (
            reverse(f"admin:registry_{table}_changelist")
            for table in ("modelversion", "alias", "aliasrequest")
        )
        return format_html(
            '<a href="{0}?{3}">Versions</a> · <a href="{1}?{3}">Aliases</a> ·'
            ' <a href="{2}?{3}">Requests</a>',
            versions,
            aliases,
            asked,
            query,
        )
