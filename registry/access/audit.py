"""Writing the audit trail, in the transaction of what it tells of."""

from django.utils.crypto import salted_hmac

from registry.access.accessor import SYSTEM, Accessor
from registry.exact_json.values import JSONObject
from registry.models import AuditEvent, ModelVersion


def record(
    action: AuditEvent.Action,
    accessor: Accessor = SYSTEM,
    *,
    model: str = "",
    target: str = "",
    details: JSONObject | None = None,
) -> None:
    """Add an event. `details` must hold no inputs, answers or secrets: events are kept for ever."""
    AuditEvent.objects.create(
        action=action,
        user=accessor.user,
        api_key=accessor.key,
        model=model,
        target=target[:300],
        details=details or {},
        request_id=accessor.request_id,
    )


def record_version(
    action: AuditEvent.Action, accessor: Accessor, version: ModelVersion, **details: object
) -> None:
    """Add an event about a version, with its ID in the details."""
    record(
        action,
        accessor,
        model=version.name,
        target=str(version),
        details={"model_id": version.pk, **details},
    )


def fingerprint(identifier: str) -> str:
    """What stands for a subject or a reference in events: equal for equal ones.

    An HMAC-SHA256 with SECRET_KEY: without the key it reveals nothing, even to someone who tries
    all identifiers. The stub of an erasure has the same.
    """
    return salted_hmac("mlapi.audit", identifier, algorithm="sha256").hexdigest()
