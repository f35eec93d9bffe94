"""Closing a request to move an alias, in the transaction of what was decided."""

from django.db import transaction

from registry.access import audit
from registry.access.accessor import Accessor
from registry.database import clock
from registry.models import AliasRequest, AuditEvent


class RequestClosed(Exception):
    """The request was decided on before, or has expired. The message can be shown to the caller."""


def close(
    request: AliasRequest,
    status: AliasRequest.Status,
    reason: str,
    accessor: Accessor,
) -> None:
    """Compare and swap: of two decisions at the same time, the second raises RequestClosed."""
    now = clock.now()
    with transaction.atomic():
        pending = AliasRequest.objects.filter(pk=request.pk, status=AliasRequest.Status.PENDING)
        if not pending.update(
            status=status, decided_by=accessor.user, decided_at=now, decision_reason=reason
        ):
            raise RequestClosed(f"Request {request.pk} was decided on in the meantime")
        record(AuditEvent.Action.APPROVAL_DECIDED, request, accessor, status)
    request.status, request.decision_reason = status, reason
    request.decided_by, request.decided_at = accessor.user, now


def record(
    action: AuditEvent.Action, request: AliasRequest, accessor: Accessor, status: str
) -> None:
    audit.record(
        action,
        accessor,
        model=request.name,
        target=f"{request.kind} {request.alias}".strip(),
        details={"request": request.pk, "status": status},
    )
