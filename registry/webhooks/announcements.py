"""The registry's own events, with the data that docs/webhooks.md describes.

Every function runs inside the transaction of the change.
"""

from registry.models import AliasMove, AliasRequest, ModelVersion
from registry.webhooks.events import (
    ALIAS_MOVED,
    APPROVAL_REQUESTED,
    ARTIFACT_ATTACHED,
    VERSION_REGISTERED,
)
from registry.webhooks.outbox import publish


def announce_version(version: ModelVersion) -> None:
    publish(VERSION_REGISTERED, version.name, _version_data(version))


def announce_artifact(version: ModelVersion) -> None:
    publish(ARTIFACT_ATTACHED, version.name, _version_data(version))


def announce_move(move: AliasMove) -> None:
    canary = _reference(move.canary_id, move.canary_version)
    if canary is not None:
        canary["percent"] = move.canary_percent
    data = {
        "alias": move.alias,
        "number": move.number,
        "action": move.action,
        "from": _reference(move.from_version_id, move.from_version),
        "to": _reference(move.to_version_id, move.to_version),
        "canary": canary,
        "shadows": move.shadows,
        "user_id": move.user_id,
        "request_id": move.request_id,
    }
    publish(ALIAS_MOVED, move.name, data)


def announce_request(request: AliasRequest) -> None:
    data = {
        "alias": request.alias or None,
        "approval_id": request.pk,
        "kind": request.kind,
        "version": request.move.get("version"),
        "expires_at": request.expires_at.isoformat().replace("+00:00", "Z"),
        "user_id": request.requested_by_id,
        "request_id": request.request_id,
    }
    publish(APPROVAL_REQUESTED, request.name, data)


def _version_data(version: ModelVersion) -> dict[str, object]:
    return {
        "model_id": version.pk,
        "version": version.version,
        "framework": version.framework,
        "sha256": version.sha256 or None,
        "size_bytes": version.size_bytes,
        "user_id": version.created_by_id,
    }


def _reference(model_id: int | None, version: str) -> dict[str, object] | None:
    return None if model_id is None else {"model_id": model_id, "version": version}
