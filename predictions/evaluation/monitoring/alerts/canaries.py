"""Ending a canary because of an alert."""

import logging

from predictions.evaluation.monitoring.alerts.announcements import reason_without_values
from predictions.models import Alert, Severity
from registry.aliases.activation import end_canaries
from registry.aliases.recording import Attribution
from registry.models import MAX_REASON_LENGTH

logger = logging.getLogger(__name__)


def end_canary_of(alert: Alert) -> None:
    """If the alert is severe and its monitor says so, take its version off the aliases whose canary
    it is, in the transaction of the alert.

    Models that need approval are no exception. An approval protects callers from versions that
    nobody else has looked at; this only gives callers back the version that was approved, and to
    wait for somebody would prolong the harm.
    """
    if not alert.monitor.rolls_back_canary or alert.severity != Severity.SEVERE:
        return
    reason = f"Alert {alert.pk} of monitor {alert.monitor}: {reason_without_values(alert)}"
    if len(reason) > MAX_REASON_LENGTH:
        reason = reason[: MAX_REASON_LENGTH - 1] + "…"
    for alias in end_canaries(alert.model_id, Attribution(reason)):
        logger.warning("The canary of %s was ended: %s", alias, reason)
