"""The tables of monitors, their reports and their alerts."""

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.references import MAX_SEGMENT_LENGTH, Reference
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.fields import ExactJSONField
from registry.models import ModelVersion, RegisteredModel, Right

MAX_MONITOR_NAME_LENGTH = 100
MAX_WINDOW_HOURS = 24 * 31
MAX_REASON_LENGTH = 1000
MAX_EMAIL_LENGTH = 254
MAX_MAIL_ERROR_LENGTH = 500
# A mail about an alert that could not be sent for this long tells nothing new.
MAIL_GIVE_UP_AFTER = timedelta(days=3)


class MonitorNotFound(LookupError):
    """No monitor has this ID; the message is for the caller."""


class MonitorReportNotFound(LookupError):
    """The monitor has no report with this ID; the message is for the caller."""


class AlertNotFound(LookupError):
    """No alert has this ID; the message is for the caller."""


class Severity(models.TextChoices):
    """How bad a finding is. Only alarms have one."""

    WARNING = "warning"
    SEVERE = "severe"


class MonitorQuerySet(models.QuerySet["Monitor"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def readable_by(self, accessor: Accessor) -> Self:
        """Those of the models whose log the accessor may read: findings tell what is in it."""
        return rights.with_right(self, accessor, Right.READ_LOG, "registered_model__name")

    def visible_to(self, accessor: Accessor) -> Self:
        """Those of the models of which the accessor may know."""
        return rights.visible(self, accessor, "registered_model__name")

    def matching(self, *, model: str | None = None, is_active: bool | None = None) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {"registered_model__name": model, "is_active": is_active}
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def find(self, monitor_id: int) -> "Monitor":
        """Raises MonitorNotFound."""
        row = self.select_related("registered_model").filter(pk=monitor_id).first()
        if row is None:
            raise MonitorNotFound(f"Monitor {monitor_id} not found")
        return row


class Monitor(models.Model):
    """Compares the versions of a model with their references, window by window."""

    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, related_name="monitors"
    )
    name = models.CharField(max_length=MAX_MONITOR_NAME_LENGTH)
    window_hours = models.PositiveSmallIntegerField(
        default=24, help_text="The length of a window. Windows begin at multiples of it in UTC."
    )
    segments = ExactJSONField(
        default=list,
        blank=True,
        help_text='What else to compare by its values, such as [{"feature": "plan"}, {"metadata":'
        ' "region", "values": ["EU", "US"]}, {"arm": true}].',
    )
    min_severity = models.CharField(
        max_length=10,
        choices=Severity,
        default=Severity.WARNING,
        help_text="Alerts below it are shown, but nobody is told.",
    )
    emails = ExactJSONField(
        default=list, blank=True, help_text="Addresses that alerts are sent to."
    )
    rolls_back_canary = models.BooleanField(
        default=False, help_text="End the canary of an alias when its version gets a severe alert."
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
    )

    objects = MonitorQuerySet.as_manager()

    class Meta:
        db_table = "monitors"
        constraints = [
            models.UniqueConstraint(fields=["registered_model", "name"], name="monitor_unique"),
            models.CheckConstraint(
                condition=Q(window_hours__gte=1, window_hours__lte=MAX_WINDOW_HOURS),
                name="monitor_window_is_valid",
            ),
        ]
        indexes = [
            # GET /api/v1/monitors/, newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="monitor_newest"),
        ]

    def __str__(self) -> str:
        return self.name


class MonitorReportQuerySet(models.QuerySet["MonitorReport"]):
    def newest_first(self) -> Self:
        return self.order_by("-until", "-id")

    def matching(self, *, model_id: int | None = None, status: str | None = None) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {"model": model_id, "status": status}
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def find(self, report_id: int) -> "MonitorReport":
        """Raises MonitorReportNotFound."""
        row = self.filter(pk=report_id).first()
        if row is None:
            raise MonitorReportNotFound(f"Report {report_id} not found")
        return row


class MonitorReport(models.Model):
    """What a monitor found in one window of one version."""

    class Status(models.TextChoices):
        OK = "ok"
        ALARM = "alarm"
        TOO_FEW_ROWS = "too_few_rows", "too few rows"

    # No index of its own: that of the unique constraint begins with it.
    monitor = models.ForeignKey(
        Monitor, on_delete=models.CASCADE, related_name="reports", db_index=False
    )
    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    reference = models.ForeignKey(Reference, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField()
    rows = models.PositiveIntegerField()
    status = models.CharField(max_length=15, choices=Status)
    findings = ExactJSONField(default=list, help_text="All comparisons, alarms first.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = MonitorReportQuerySet.as_manager()

    class Meta:
        db_table = "monitor_reports"
        constraints = [
            # Its index also serves the windows of a version, newest first.
            models.UniqueConstraint(
                fields=["monitor", "model", "until"], name="monitor_report_unique"
            ),
            models.CheckConstraint(
                condition=Q(since__lt=F("until")), name="monitor_report_has_window"
            ),
        ]
        indexes = [
            # GET /api/v1/monitors/{id}/reports/, newest first, by key.
            models.Index(
                "monitor", F("until").desc(), F("id").desc(), name="monitor_report_newest"
            ),
        ]

    def __str__(self) -> str:
        return f"Report {self.pk}"


class AlertQuerySet(models.QuerySet["Alert"]):
    def newest_first(self) -> Self:
        return self.order_by("-opened_at", "-id")

    def open(self) -> Self:
        """Those that have not been closed, acknowledged or not."""
        return self.filter(closed_at=None)

    def severe_first(self) -> Self:
        # The names of the severities happen to be in this order.
        return self.order_by("severity", "-opened_at", "-id")

    def readable_by(self, accessor: Accessor) -> Self:
        """Those of the models whose log the accessor may read."""
        return rights.with_right(self, accessor, Right.READ_LOG, "model__name")

    def visible_to(self, accessor: Accessor) -> Self:
        """Those of the models of which the accessor may know."""
        return rights.visible(self, accessor, "model__name")

    def matching(
        self,
        *,
        model: str | None = None,
        model_id: int | None = None,
        monitor_id: int | None = None,
        severity: str | None = None,
        open: bool | None = None,
    ) -> Self:
        """Apply the list endpoint's filters; None does not filter."""
        filters = {
            "model__name": model,
            "model": model_id,
            "monitor": monitor_id,
            "severity": severity,
            "closed_at__isnull": open,
        }
        return self.filter(**{key: value for key, value in filters.items() if value is not None})

    def find(self, alert_id: int) -> "Alert":
        """Raises AlertNotFound."""
        row = self.select_related("monitor", "model").filter(pk=alert_id).first()
        if row is None:
            raise AlertNotFound(f"Alert {alert_id} not found")
        return row


class Alert(models.Model):
    """Something that a monitor found in two of three windows, until it is over.

    At most one is open for each finding: `kind` says what is compared ("drift", "missing values"),
    `variable` and `segment` of what.
    """

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="alerts")
    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="alerts")
    kind = models.CharField(max_length=40)
    variable = models.CharField(max_length=300, blank=True, default="")
    segment = models.CharField(max_length=MAX_SEGMENT_LENGTH, blank=True, default="")
    severity = models.CharField(max_length=10, choices=Severity)
    reason = models.CharField(max_length=MAX_REASON_LENGTH, help_text="The finding in words.")
    finding = ExactJSONField(help_text="The newest finding, with its figures.")
    opened_at = models.DateTimeField(default=timezone.now)
    window_until = models.DateTimeField(help_text="The end of the newest window with this alarm.")
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    closed_at = models.DateTimeField(null=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        db_table = "alerts"
        constraints = [
            models.UniqueConstraint(
                fields=["monitor", "model", "kind", "variable", "segment"],
                condition=Q(closed_at=None),
                name="alert_is_open_once",
            ),
        ]
        indexes = [
            # GET /api/v1/alerts/, newest first, by key.
            models.Index(F("opened_at").desc(), F("id").desc(), name="alert_newest"),
        ]

    def __str__(self) -> str:
        return f"Alert {self.pk}"

    @property
    def window_since(self) -> datetime:
        """The beginning of the window that ends at `window_until`."""
        return self.window_until - timedelta(hours=self.monitor.window_hours)

    @property
    def what(self) -> str:
        """What it is about: "input drift of age in feature:plan=gold", or "confidence drift"."""
        # The kinds of the others begin with their variable.
        is_said = self.kind.startswith(self.variable)
        of = "" if is_said else f" of {self.variable.removeprefix('input:')}"
        within = f" in {self.segment}" if self.segment else ""
        return f"{self.kind.replace('_', ' ')}{of}{within}"


class AlertMailQuerySet(models.QuerySet["AlertMail"]):
    def pending(self) -> Self:
        return self.filter(finished_at=None)


class AlertMail(models.Model):
    """A mail to one address about one alert: written with the change of the alert, sent later.

    It is sent at least once: a worker that dies between the sending and its record sends it again,
    with the same Message-ID.
    """

    # Its index also finds the mails of an alert that is deleted.
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="mails")
    event = models.CharField(max_length=30, help_text="What happened to the alert.")
    address = models.CharField(max_length=MAX_EMAIL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    finished_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=MAX_MAIL_ERROR_LENGTH, blank=True, default="")

    objects = AlertMailQuerySet.as_manager()

    class Meta:
        db_table = "alert_mails"
        indexes = [
            # Which mail a worker sends next.
            models.Index("due_at", "id", condition=Q(finished_at=None), name="alert_mail_due"),
        ]

    def __str__(self) -> str:
        return f"Mail {self.pk} about {self.alert_id}"
