"""Writing the audit trail, in the transaction of what it tells of."""

from registry.access.accessor import SYSTEM, Accessor
from registry.exact_json.values import JSONObject
from registry.models import AuditEvent


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
