"""Asking for a move that somebody else must approve, and deciding about it.

The user who asks and the user who approves are two people: a key's requests are its owner's, keys
decide nothing, and superusers are no exception. A move runs at its approval, with all its checks,
and only if the alias is still as it was when the move was asked for.
"""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from registry.access import rights
from registry.access.accessor import Accessor
from registry.aliases import moves
from registry.aliases.decisions import RequestClosed, close, record
from registry.aliases.moves import UNCHANGED
from registry.aliases.recording import Attribution
from registry.aliases.validation import MoveRefused
from registry.exact_json.values import JSONObject
from registry.models import (
    Alias,
    AliasMove,
    AliasRequest,
    AuditEvent,
    ModelNotFound,
    ModelVersion,
    RegisteredModel,
    Right,
)
from registry.webhooks.announcements import announce_request

Kind, Status = AliasRequest.Kind, AliasRequest.Status
# So that a script that repeats itself does not fill the table.
MAX_PENDING_PER_MODEL = 100


# -- asking


def ask_to_set(
    *, name: str, alias: str, move: Mapping[str, Any], reason: str = "", accessor: Accessor
) -> AliasRequest:
    """Ask to set an alias; `move` is the validated body of the request, without its reason.

    Raises ModelNotFound for an unknown version, or MoveRefused if too many requests wait.
    """
    canary = move.get("canary")
    numbers = {move["version"], *move.get("shadows", ()), *([canary["version"]] if canary else [])}
    known = ModelVersion.objects.filter(name=name, version__in=numbers)
    if missing := sorted(numbers - set(known.values_list("version", flat=True))):
        raise ModelNotFound(f"Model {name}:{missing[0]} not found")
    return _ask(Kind.SET, name, alias, {**move}, reason, accessor)


def ask_to_roll_back(*, name: str, alias: str, reason: str, accessor: Accessor) -> AliasRequest:
    """Raises AliasNotFound or MoveRefused."""
    Alias.objects.find(name, alias)
    return _ask(Kind.ROLL_BACK, name, alias, {}, reason, accessor)


def ask_to_remove(*, name: str, alias: str, accessor: Accessor) -> AliasRequest:
    """Raises AliasNotFound or MoveRefused."""
    Alias.objects.find(name, alias)
    return _ask(Kind.REMOVE, name, alias, {}, "", accessor)


def ask_to_end_approval(*, name: str, accessor: Accessor) -> AliasRequest:
    """Ask that moves of the model's aliases need no approval any more. Raises MoveRefused."""
    return _ask(Kind.END_APPROVAL, name, "", {}, "", accessor)


def _ask(
    kind: AliasRequest.Kind,
    name: str,
    alias: str,
    move: JSONObject,
    reason: str,
    accessor: Accessor,
) -> AliasRequest:
    assert accessor.user is not None  # commands move aliases without asking
    last = AliasMove.objects.last_move(name, alias)
    with transaction.atomic():
        # Others who ask wait here, so that they are counted.
        RegisteredModel.objects.select_for_update(no_key=True).find(name)
        pending = AliasRequest.objects.matching(name=name, status=Status.PENDING)
        if pending.count() >= MAX_PENDING_PER_MODEL:
            raise MoveRefused(
                f"{MAX_PENDING_PER_MODEL} requests wait for model {name}; decide on them first"
            )
        request = AliasRequest.objects.create(
            kind=kind,
            name=name,
            alias=alias,
            move=move,
            based_on=last.number if last else 0,
            reason=reason,
            requested_by=accessor.user,
            api_key=accessor.key,
            request_id=accessor.request_id,
        )
        record(AuditEvent.Action.APPROVAL_REQUESTED, request, accessor, request.status)
        announce_request(request)
    return request


# -- deciding


def approve(*, request: AliasRequest, reason: str = "", accessor: Accessor) -> AliasRequest:
    """Make the move that was asked for, and return the decided request.

    Raises PermissionDenied, RequestClosed, AliasMoved if the alias has been moved since it was
    asked for, and whatever the move itself raises; the request stays pending then.
    """
    require_decider(request, accessor)
    _require_pending(request)
    attribution = Attribution(reason, accessor.user, accessor.request_id, accessor.key, request)
    _RUN[request.kind](request, attribution)
    if request.status == Status.PENDING:
        # The alias was as it should be already, so that no move has closed the request.
        _close(request, Status.APPROVED, reason, accessor)
    return request


def reject(*, request: AliasRequest, reason: str = "", accessor: Accessor) -> AliasRequest:
    """Raises PermissionDenied or RequestClosed."""
    require_decider(request, accessor)
    _require_pending(request)
    return _close(request, Status.REJECTED, reason, accessor)


def withdraw(*, request: AliasRequest, reason: str = "", accessor: Accessor) -> AliasRequest:
    """Take back one's own request; a key needs the scope that such a request takes. Raises
    PermissionDenied or RequestClosed.
    """
    if accessor.user != request.requested_by:
        raise PermissionDenied("Only the user who asked may withdraw the request.")
    if accessor.key is not None:
        is_of_model = request.kind == Kind.END_APPROVAL
        right = Right.MANAGE_VERSIONS if is_of_model else Right.MOVE_ALIASES
        rights.require(accessor, right, request.name)
    _require_pending(request)
    return _close(request, Status.WITHDRAWN, reason, accessor)


def require_decider(request: AliasRequest, accessor: Accessor) -> None:
    """Raise PermissionDenied unless the accessor may approve or reject this request."""
    if accessor.key is not None:
        raise PermissionDenied("A person must decide on this request, not an API key.")
    if accessor.user == request.requested_by:
        raise PermissionDenied("Somebody else must decide on your request.")
    rights.require(accessor, Right.MOVE_ALIASES, request.name)


def _require_pending(request: AliasRequest) -> None:
    if request.state != Status.PENDING:
        raise RequestClosed(f"Request {request.pk} is {request.state}")


def _close(
    request: AliasRequest, status: AliasRequest.Status, reason: str, accessor: Accessor
) -> AliasRequest:
    close(request, status, reason, accessor)
    return request


# -- the moves


def _set(request: AliasRequest, attribution: Attribution) -> None:
    move = request.move
    canary = move.get("canary", UNCHANGED)
    moves.set_alias(
        name=request.name,
        alias=request.alias,
        version=move["version"],
        canary=(canary["version"], canary["percent"]) if isinstance(canary, dict) else canary,
        shadows=move.get("shadows", UNCHANGED),
        force=move.get("force", False),
        require=move.get("require"),
        attribution=attribution,
    )


def _roll_back(request: AliasRequest, attribution: Attribution) -> None:
    moves.rollback(name=request.name, alias=request.alias, attribution=attribution)


def _remove(request: AliasRequest, attribution: Attribution) -> None:
    moves.remove_alias(name=request.name, alias=request.alias, attribution=attribution)


def _end_approval(request: AliasRequest, attribution: Attribution) -> None:
    with transaction.atomic():
        RegisteredModel.objects.filter(name=request.name).update(needs_approval=False)
        close(request, Status.APPROVED, attribution.reason, attribution.accessor)


_RUN = {
    Kind.SET.value: _set,
    Kind.ROLL_BACK.value: _roll_back,
    Kind.REMOVE.value: _remove,
    Kind.END_APPROVAL.value: _end_approval,
}
