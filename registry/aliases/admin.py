"""Aliases in the admin: moved with a reason, rolled back, and looked back at."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from registry.aliases import moves
from registry.aliases.forms import MOVE_ERRORS, AliasAddForm, AliasChangeForm
from registry.aliases.moves import Cause
from registry.models import MAX_REASON_LENGTH, Alias, AliasMove, ModelVersion
from registry.readonly_admin import ReadOnlyAdmin

SHOWN_MOVES = 50
ADDED = ("model_name", "alias_name", "live_version", "reason", "force")
CHANGED = ("live_version", "canary_version", "percent", "shadow_versions", "reason", "force")
TOLD = ("name", "alias", "updated_at")


def version_link(version: ModelVersion) -> SafeString:
    url = reverse("admin:registry_modelversion_change", args=[version.pk])
    return format_html('<a href="{}">{}</a>', url, version.version)


@admin.register(Alias)
class AliasAdmin(admin.ModelAdmin):
    list_display = ("reference", "answers", "canary_share", "shadow_list", "updated_at", "log")
    list_filter = ("alias",)
    search_fields = ("name", "alias")
    ordering = ("name", "alias")
    show_full_result_count = False
    change_form_template = "admin/registry/alias/change_form.html"

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        return Alias.objects.listed().order_by(*self.get_ordering(request))

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        base = AliasAddForm if obj is None else AliasChangeForm
        if obj is not None and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change, **kwargs)
        who = {"user": request.user, "request_id": _request_id(request)}
        return type(base.__name__, (base,), who)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else (*TOLD, "holds", "history")

    def get_fieldsets(self, request: HttpRequest, obj: Alias | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ADDED})]
        move: list[Any] = [("Move it", {"fields": CHANGED})]
        may = self.has_change_permission(request, obj)
        return [
            (None, {"fields": (*TOLD, "holds")}),
            *(move if may else []),
            ("History", {"fields": ("history",)}),
        ]

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

    def _roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        reason = request.POST.get("reason", "").strip()[:MAX_REASON_LENGTH]
        try:
            after = moves.rollback(
                name=row.name, alias=row.alias, cause=_cause(request, reason.replace("\0", ""))
            )
        except MOVE_ERRORS as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            said = f"Rolled {row} back to version {after.version.version}."
            self.log_change(request, row, said)
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:registry_alias_change", args=[row.pk]))

    def save_model(self, request: HttpRequest, obj: Alias, form: Any, change: bool) -> None:
        """The form has moved it already."""

    def delete_model(self, request: HttpRequest, obj: Alias) -> None:
        moves.remove_alias(name=obj.name, alias=obj.alias, cause=_cause(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Alias]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    @admin.display(description="alias", ordering="name")
    def reference(self, row: Alias) -> str:
        return str(row)

    @admin.display(description="version")
    def answers(self, row: Alias) -> SafeString:
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
    def log(self, row: Alias) -> SafeString:
        url = reverse("admin:registry_aliasmove_changelist")
        # Names may hold a plus, which a query takes for a space.
        query = urlencode({"name__exact": row.name, "alias__exact": row.alias})
        return format_html('<a href="{}?{}">Moves</a>', url, query)

    @admin.display(description="holds")
    def holds(self, row: Alias) -> SafeString:
        parts: list[tuple[str, str]] = [("version", self.answers(row))]
        if row.canary is not None:
            parts.append(("canary", self.canary_share(row)))
        parts += [("shadow", version_link(shadow)) for shadow in row.arms.shadows]
        return format_html_join(", ", "{} {}", parts)

    @admin.display(description="moves")
    def history(self, row: Alias) -> str:
        history = AliasMove.objects.of(row.name, row.alias).select_related("user").newest_first()
        shown = list(history[: SHOWN_MOVES + 1])
        return render_to_string(
            "admin/registry/alias/history.html",
            {
                "moves": shown[:SHOWN_MOVES],
                "more": self.log(row) if len(shown) > SHOWN_MOVES else "",
            },
        )


@admin.register(AliasMove)
class AliasMoveAdmin(ReadOnlyAdmin):
    """The history of all aliases."""

    list_display = ("created_at", "reference", "number", "action", "change", "reason", "user")
    list_filter = ("action", "alias")
    list_select_related = ("user",)
    search_fields = ("name",)

    @admin.display(description="alias")
    def reference(self, move: AliasMove) -> str:
        return f"{move.name}@{move.alias}"

    @admin.display(description="from and to")
    def change(self, move: AliasMove) -> str:
        return f"{move.from_version or '-'} → {move.to_version or '-'}"


def _request_id(request: HttpRequest) -> str:
    return getattr(request, "request_id", "")


def _cause(request: HttpRequest, reason: str = "") -> Cause:
    user: Any = request.user
    return Cause(reason, user, _request_id(request))
