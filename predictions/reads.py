"""Tells the audit trail who has read other people's predictions: an event for each page."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from predictions.models import Prediction
from predictions.models.searching import user_id_of
from registry.access import audit
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.models import AuditEvent
from registry.readonly_admin import SearchableAdmin, parse_search

# These identify people, and an event outlives the erasure of what it describes.
FINGERPRINTED = frozenset({"subject", "reference"})
MAX_DESCRIBED_LENGTH = 200
# Where a page begins is of no interest.
POSITIONS = frozenset({"cursor", "skip", "limit", "after", "p"})


def audit_page(request: Request, rows: Sequence[Prediction], *, target: str) -> None:
    """As `audit_read`, for the response to a request with these filters as query parameters."""
    audit_read(Accessor.of(request), rows, target=target, filters=request.query_params.dict())


def audit_read(
    accessor: Accessor,
    rows: Sequence[Prediction],
    *,
    target: str,
    filters: Mapping[str, object] | None = None,
) -> None:
    """Record that the accessor reads these rows, if any is somebody else's, or has no user.

    Call it before they are shown: if the event cannot be written, the error refuses the read. The
    rows need their `user_id` and `model`.
    """
    user_id = accessor.user.pk if accessor.user else None
    others = [row for row in rows if user_id is None or row.user_id != user_id]
    if not others:
        return
    names = {row.model.name for row in others}
    audit.record(
        AuditEvent.Action.PREDICTIONS_READ,
        accessor,
        model=names.pop() if len(names) == 1 else "",
        target=target,
        details={"rows": len(others), "filters": describe(filters or {})},
    )


class AuditedReadsAdmin(SearchableAdmin):
    """An admin whose list and pages show predictions, of which the audit trail is told."""

    def predictions_of(self, rows: Iterable[Any]) -> list[Prediction]:
        """The predictions that these rows show."""
        return list(rows)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and "cl" in (response.context_data or {}):
            shown = (response.context_data or {})["cl"]
            filters: JSONObject = request.GET.dict()
            with suppress(ValidationError):
                filters |= parse_search(filters.pop("q", ""), self.query_serializer_class)
            audit_read(
                Accessor.of(request),
                self.predictions_of(shown.result_list),
                target=str(self.opts.verbose_name_plural),
                filters=filters,
            )
        return response

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().changeform_view(request, object_id, form_url, extra_context)
        if isinstance(response, TemplateResponse):
            row = (response.context_data or {})["original"]
            audit_read(
                Accessor.of(request),
                self.predictions_of([row]),
                target=f"{self.opts.verbose_name} {object_id}",
            )
        return response


def describe(filters: Mapping[str, object]) -> JSONObject:
    """Filters for the audit trail, without what identifies people."""
    described: JSONObject = {}
    for name, value in filters.items():
        if name in POSITIONS or value is None:
            continue
        if name in FINGERPRINTED:
            described[f"{name}_fingerprint"] = audit.fingerprint(str(value))
        elif name == "user":
            # A user may be anonymised later; the id stays.
            described["user_id"] = user_id_of(str(value))
        else:
            described[name] = str(value)[:MAX_DESCRIBED_LENGTH]
    return described
