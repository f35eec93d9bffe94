"""A requirement of promotions: a monitored version without an open alert."""

from collections.abc import Mapping

from predictions.evaluation.monitoring.alerts.announcements import reason_without_values
from predictions.evaluation.promotion.requirements import Check, Errors, PromotionRefused
from predictions.models import Alert, MonitorReport
from registry.models import ModelVersion

FIELD = "no_open_alerts"
MAX_LISTED_ALERTS = 10


class NoOpenAlerts:
    """`{"no_open_alerts": true}`."""

    fields = (FIELD,)

    def read(self, require: Mapping[str, object], errors: Errors) -> Check:
        if require[FIELD] is not True:
            errors[f"require.{FIELD}"] = ["Must be true; leave it out to require nothing."]
        return check


NO_OPEN_ALERTS = NoOpenAlerts()


def check(from_version_id: int | None, to_version_id: int) -> None:
    """Raise PromotionRefused if the version has an open alert, or was never judged by a monitor:
    then there being no alert says nothing.
    """
    version = ModelVersion.objects.only("name", "version").find(to_version_id)
    alerts = Alert.objects.open().filter(model=version).newest_first()[: MAX_LISTED_ALERTS + 1]
    listed = [
        {
            "id": alert.pk,
            "severity": str(alert.severity),
            # Moving an alias takes no right to read the log.
            "reason": reason_without_values(alert),
        }
        for alert in alerts[:MAX_LISTED_ALERTS]
    ]
    if listed:
        more = " and more" if len(alerts) > len(listed) else ""
        numbers = ", ".join(str(alert["id"]) for alert in listed)
        raise PromotionRefused(
            f"{version} has open alerts: {numbers}{more}", {"open_alerts": listed}
        )
    judged = MonitorReport.objects.filter(model=version, monitor__is_active=True)
    if not judged.exclude(status=MonitorReport.Status.TOO_FEW_ROWS).exists():
        raise PromotionRefused(
            f"No monitor has judged {version} yet, so that having no alert says nothing; let it"
            " answer as a canary or a shadow first"
        )
