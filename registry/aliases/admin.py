"""The admin pages of aliases and their history."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from registry import hooks
from registry.access.accessor import Accessor
from registry.aliases import moves
from registry.aliases.approvals import requests
from registry.aliases.forms import MOVE_ERRORS, AliasAddForm, AliasChangeForm, AliasForm
from registry.aliases.recording import Attribution
from registry.models import (
    MAX_REASON_LENGTH,
    Alias,
    AliasMove,
    ModelVersion,
    RegisteredModel,
)
from registry.readonly_admin import ReadOnlyAdmin, change_link

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec
    from django.forms import ModelForm

    # Generic only in the stubs.
    _AliasAdmin = admin.ModelAdmin[Alias]
else:
    _AliasAdmin = admin.ModelAdmin

MAX_SHOWN_MOVES = 50
ADD_FIELDS = ("model_name", "alias_name", "live_version", "reason", "force")
MOVE_FIELDS = ("live_version", "canary_version", "percent", "shadow_versions", "reason", "force")
READONLY_FIELDS = ("name", "alias", "updated_at", "versions_in_use")


def version_link(version: ModelVersion) -> SafeString:
    return change_link(ModelVersion, version.pk, version.version)


@admin.register(Alias)
class AliasAdmin(_AliasAdmin):
    list_display = (
        "specifier",
        "live_version",
        "canary_share",
        "shadow_list",
        "updated_at",
        "moves_link",
    )
    list_filter = ("alias",)
    search_fields = ("name", "alias")
    ordering = ("name", "alias")
    show_full_result_count = False
    change_form_template = "admin/registry/alias/change_form.html"

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        return Alias.objects.with_versions().order_by(*self.get_ordering(request))

    def get_form(
        self, request: HttpRequest, obj: Alias | None = None, change: bool = False, **kwargs: Any
    ) -> "type[ModelForm[Alias]]":
        if obj is not None and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change, **kwargs)
        base: type[AliasForm] = AliasAddForm if obj is None else AliasChangeForm
        return type(base.__name__, (base,), {"attribution": Attribution.from_request(request)})

    def get_readonly_fields(
        self, request: HttpRequest, obj: Alias | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else (*READONLY_FIELDS, "history")

    def get_fieldsets(self, request: HttpRequest, obj: Alias | None = None) -> "_FieldsetSpec":
        if obj is None:
            return [(None, {"fields": ADD_FIELDS})]
        sections: list[tuple[str | None, tuple[str, ...]]] = [(None, READONLY_FIELDS)]
        if self.has_change_permission(request, obj):
            sections.append(("Move", MOVE_FIELDS))
        sections.append(("History", ("history",)))
        return [(title, {"fields": fields}) for title, fields in sections]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and "_rollback" in request.POST:
            return self._roll_back(request, object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Alias | None = None,
    ) -> HttpResponse:
        if obj is not None:
            context["extension_links"] = [
                (link.url(obj), link.label) for link in hooks.extension().alias_links
            ]
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined, no-any-return]
                request, self.opts, object_id
            )
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        reason = request.POST.get("reason", "").strip()[:MAX_REASON_LENGTH].replace("\0", "")
        if RegisteredModel.objects.needs_approval(row.name):
            return self._ask_to_roll_back(request, row, reason)
        try:
            after = moves.rollback(
                name=row.name,
                alias=row.alias,
                attribution=Attribution.from_request(request, reason),
            )
        except MOVE_ERRORS as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            message = f"Rolled {row} back to version {after.version.version}."
            self.log_change(request, row, message)
            self.message_user(request, message, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:registry_alias_change", args=[row.pk]))

    def _ask_to_roll_back(self, request: HttpRequest, row: Alias, reason: str) -> HttpResponse:
        try:
            asked = requests.ask_to_roll_back(
                name=row.name, alias=row.alias, reason=reason, accessor=Accessor.of(request)
            )
        except MOVE_ERRORS as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            message = f"Request {asked.pk} waits for somebody else's approval."
            self.message_user(request, message, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:registry_alias_change", args=[row.pk]))

    def has_delete_permission(self, request: HttpRequest, obj: Alias | None = None) -> bool:
        # The API asks for the approval of a removal.
        return super().has_delete_permission(request, obj) and (
            obj is None or not RegisteredModel.objects.needs_approval(obj.name)
        )

    def save_model(self, request: HttpRequest, obj: Alias, form: AliasForm, change: bool) -> None:
        """Do nothing: the form has moved the alias already."""

    def delete_model(self, request: HttpRequest, obj: Alias) -> None:
        moves.remove_alias(
            name=obj.name, alias=obj.alias, attribution=Attribution.from_request(request)
        )

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Alias]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    @admin.display(description="alias", ordering="name")
    def specifier(self, row: Alias) -> str:
        return str(row)

    @admin.display(description="version")
    def live_version(self, row: Alias) -> SafeString:
        return version_link(row.version)

    @admin.display(description="canary")
    def canary_share(self, row: Alias) -> SafeString | str:
        if row.canary is None:
            return "-"
        return format_html("{} for {} %", version_link(row.canary), f"{row.canary_percent:g}")

    @admin.display(description="shadows")
    def shadow_list(self, row: Alias) -> SafeString | str:
        links = [(version_link(shadow),) for shadow in row.arms.shadows]
        return format_html_join(", ", "{}", links) or "-"

    @admin.display(description="history")
    def moves_link(self, row: Alias) -> SafeString:
        url = reverse("admin:registry_aliasmove_changelist")
        # Encoded, because a name may contain a plus sign.
        query = urlencode({"name__exact": row.name, "alias__exact": row.alias})
        return format_html('<a href="{}?{}">Moves</a>', url, query)

    @admin.display(description="versions")
    def versions_in_use(self, row: Alias) -> SafeString:
        parts: list[tuple[str, str]] = [("live", self.live_version(row))]
        if row.canary is not None:
            parts.append(("canary", self.canary_share(row)))
        parts += [("shadow", version_link(shadow)) for shadow in row.arms.shadows]
        return format_html_join(", ", "{} {}", parts)

    @admin.display(description="moves")
    def history(self, row: Alias) -> str:
        moves = AliasMove.objects.of_alias(row.name, row.alias).with_users()
        newest = list(moves.newest_first()[: MAX_SHOWN_MOVES + 1])
        return render_to_string(
            "admin/registry/alias/history.html",
            {
                "moves": newest[:MAX_SHOWN_MOVES],
                "all_moves_link": self.moves_link(row) if len(newest) > MAX_SHOWN_MOVES else "",
            },
        )


@admin.register(AliasMove)
class AliasMoveAdmin(ReadOnlyAdmin):
    """The history of all aliases: read-only here, as in the database."""

    list_display = (
        *("created_at", "specifier", "number", "action", "change", "canary_share"),
        *("reason", "user"),
    )
    list_filter = ("action", "alias")
    list_select_related = ("user",)
    search_fields = ("name",)

    @admin.display(description="alias")
    def specifier(self, move: AliasMove) -> str:
        return f"{move.name}@{move.alias}"

    @admin.display(description="from and to")
    def change(self, move: AliasMove) -> str:
        return f"{move.from_version or '-'} → {move.to_version or '-'}"

    @admin.display(description="canary after the move")
    def canary_share(self, move: AliasMove) -> str:
        if move.canary_id is None:
            return "-"
        return f"{move.canary_version} for {move.canary_percent:g} %"
