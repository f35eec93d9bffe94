"""Requests to move an alias in the admin: everybody who sees one decides on it here."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from registry.access.accessor import Accessor
from registry.aliases.approvals import requests
from registry.aliases.decisions import RequestClosed
from registry.aliases.forms import MOVE_ERRORS
from registry.models import MAX_REASON_LENGTH, AliasRequest
from registry.readonly_admin import ReadOnlyAdmin, readable_json

DECISIONS = {
    "_approve": requests.approve,
    "_reject": requests.reject,
    "_withdraw": requests.withdraw,
}


@admin.register(AliasRequest)
class AliasRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "specifier",
        "kind",
        "reason",
        "requested_by",
        "state",
        "decided_by",
    )
    list_filter = ("status", "kind")
    search_fields = ("name",)
    fields = (
        "specifier",
        "kind",
        "move_json",
        "reason",
        "requested_by",
        "created_at",
        "expires_at",
        "state",
        "decided_by",
        "decided_at",
        "decision_reason",
    )
    readonly_fields = ("specifier", "move_json", "state")
    change_form_template = "admin/registry/aliasrequest/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("requested_by", "decided_by")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row: Any = self.get_object(request, object_id)
        chosen = next((name for name in DECISIONS if name in request.POST), None)
        if row is not None and chosen is not None:
            return self._decide(request, row, chosen)
        context = {
            "is_pending": row is not None and row.state == AliasRequest.Status.PENDING,
            "is_own": row is not None and row.requested_by == request.user,
        }
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )

    def _decide(self, request: HttpRequest, row: AliasRequest, chosen: str) -> HttpResponse:
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        reason = request.POST.get("decision_reason", "").strip()[:MAX_REASON_LENGTH]
        if chosen == "_reject" and not reason:
            self.message_user(request, "A rejection needs a reason.", messages.ERROR)
        else:
            self._try(request, row, chosen, reason.replace("\0", ""))
        return HttpResponseRedirect(reverse("admin:registry_aliasrequest_change", args=[row.pk]))

    def _try(self, request: HttpRequest, row: AliasRequest, chosen: str, reason: str) -> None:
        try:
            DECISIONS[chosen](request=row, reason=reason, accessor=Accessor.of(request))
        except (*MOVE_ERRORS, PermissionDenied, RequestClosed) as error:
            self.message_user(request, str(error), messages.ERROR)
        except Exception as error:
            # The promotion gate raises exceptions of the app above.
            if not row.move.get("require"):
                raise
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, f"Request {row.pk} is {row.state}.", messages.SUCCESS)

    @admin.display(description="alias")
    def specifier(self, row: AliasRequest) -> str:
        return f"{row.name}@{row.alias}" if row.alias else row.name

    @admin.display(description="status")
    def state(self, row: AliasRequest) -> str:
        return row.state

    @admin.display(description="move")
    def move_json(self, row: AliasRequest) -> str:
        return readable_json(row.move)
