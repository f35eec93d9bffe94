"""What people change of alerts."""

from django.db import transaction
from django.utils import timezone

from predictions.evaluation.monitoring.alerts.announcements import ALERT_ACKNOWLEDGED, announce
from predictions.models import Alert
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.models import AuditEvent


class AlertEnded(Exception):
    """The alert is closed, or was acknowledged before. The message can be shown to the caller."""


def acknowledge(alert: Alert, *, accessor: Accessor = SYSTEM) -> None:
    """Note who looks at an open alert. Raises AlertEnded."""
    now = timezone.now()
    with transaction.atomic():
        # Compare and swap: of two people at the same time, one acknowledges.
        waiting = Alert.objects.open().filter(pk=alert.pk, acknowledged_at=None)
        if not waiting.update(acknowledged_at=now, acknowledged_by=accessor.user):
            alert.refresh_from_db()
            state = "closed" if alert.closed_at else "acknowledged already"
            raise AlertEnded(f"Alert {alert.pk} is {state}")
        alert.acknowledged_at, alert.acknowledged_by = now, accessor.user
        audit.record(
            AuditEvent.Action.ALERT_ACKNOWLEDGED,
            accessor,
            model=alert.model.name,
            target=f"alert {alert.pk}: {alert.what}",
            details={"alert": alert.pk, "version": alert.model.version},
        )
        announce(ALERT_ACKNOWLEDGED, alert)
