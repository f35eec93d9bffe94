"""Sending the mails about alerts: each at least once, however long the mail server is away."""

import logging
from datetime import datetime, timedelta
from smtplib import SMTPException, SMTPRecipientsRefused

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F

from predictions.evaluation.monitoring.alerts.announcements import reason_without_values
from predictions.metrics import ALERT_MAILS_SENT
from predictions.models import MAIL_GIVE_UP_AFTER, MAX_MAIL_ERROR_LENGTH, Alert, AlertMail
from registry.database import clock
from registry.work.kinds import Backlog, IsStopping, Kind

# Longer than an attempt can take: connecting, TLS, logging in and sending each have EMAIL_TIMEOUT.
LEASE_TIMEOUTS = 10
# Before the second, third ... attempt: 30 s, 2 min, 8 min and so on.
FIRST_RETRY_SECONDS, RETRY_FACTOR, MAX_RETRY_SECONDS = 30.0, 4.0, 3600.0
# Others may take the same row first; then the next one is tried.
MAX_TRIES = 10
# Replies from here on mean that the same mail would be refused again (RFC 5321, 4.2.1).
PERMANENT = 500
MAX_SUBJECT_LENGTH = 200
HAPPENED = {
    "alert.opened": "Alert",
    "alert.escalated": "Alert is severe now",
    "alert.acknowledged": "Alert acknowledged",
    "alert.closed": "Alert is over",
}

logger = logging.getLogger(__name__)


def take_due() -> AlertMail | None:
    """Claim the mail that is due first; None without EMAIL_HOST, so that mails wait for it."""
    if not settings.EMAIL_HOST:
        return None
    for _ in range(MAX_TRIES):
        now = clock.now()
        due = AlertMail.objects.pending().filter(due_at__lte=now)
        mail_id = due.order_by("due_at", "id").values_list("pk", flat=True).first()
        if mail_id is None:
            return None
        lease_until = now + timedelta(seconds=LEASE_TIMEOUTS * settings.EMAIL_TIMEOUT)
        # Compare and swap: a row that another worker has taken is not due any more.
        if due.filter(pk=mail_id).update(due_at=lease_until, attempts=F("attempts") + 1):
            mine = AlertMail.objects.pending().filter(pk=mail_id, due_at=lease_until)
            return mine.select_related("alert__monitor", "alert__model").first()
    return None


def send(mail: AlertMail, is_stopping: IsStopping = lambda: False) -> None:
    """Make one attempt at a mail that `take_due` has returned, and record its result."""
    message = EmailMessage(
        subject=_subject(mail),
        body=_body(mail),
        to=[mail.address],
        # The same in each attempt, so that a mail program can recognise a repetition.
        headers={"Message-ID": f"<mlapi-alert-{mail.alert_id}-{mail.pk}@{_domain()}>"},
    )
    try:
        message.send()
    # A ValueError: a header that cannot be sent, such as a malformed EMAIL_FROM.
    except (SMTPException, OSError, ValueError) as error:
        _note_failure(mail, error)
        return
    if _record(mail, finished_at=clock.now(), last_error=""):
        ALERT_MAILS_SENT.labels("sent").inc()


def _note_failure(mail: AlertMail, error: Exception) -> None:
    now = clock.now()
    # The text may name the address, which logs must not.
    kind = type(error).__name__
    text = f"{kind}: {error}".replace("\0", "")[:MAX_MAIL_ERROR_LENGTH]
    is_last = _is_permanent(error) or now >= mail.created_at + MAIL_GIVE_UP_AFTER
    if is_last:
        _record(mail, finished_at=now, last_error=text)
        logger.error("%s was not sent: %s", mail, kind)
    else:
        _record(mail, due_at=_retry_at(mail, now), last_error=text)
        logger.warning("%s could not be sent, and is tried again: %s", mail, kind)
    ALERT_MAILS_SENT.labels("given_up" if is_last else "retried").inc()


def _record(mail: AlertMail, **changes: object) -> bool:
    """Write the result, unless the lease has ended and another attempt has begun."""
    mine = AlertMail.objects.pending().filter(pk=mail.pk, due_at=mail.due_at)
    return bool(mine.update(**changes))


def _is_permanent(error: Exception) -> bool:
    """Whether the server knows no such address; other refusals may be the server's own trouble."""
    return isinstance(error, SMTPRecipientsRefused) and all(
        code >= PERMANENT for code, _ in error.recipients.values()
    )


def _retry_at(mail: AlertMail, now: datetime) -> datetime:
    exponent = min(mail.attempts - 1, 10)
    seconds = min(FIRST_RETRY_SECONDS * RETRY_FACTOR**exponent, MAX_RETRY_SECONDS)
    return now + timedelta(seconds=seconds)


def _domain() -> str:
    return settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip("<> ") or "localhost"


def _subject(mail: AlertMail) -> str:
    alert = mail.alert
    text = f"{HAPPENED[mail.event]}: {alert.model}, {alert.what} ({alert.severity})"
    # Names of features may contain line breaks, which a header must not.
    return " ".join(text.split())[:MAX_SUBJECT_LENGTH]


def _body(mail: AlertMail) -> str:
    alert = mail.alert
    return "\n".join(
        [
            f"{HAPPENED[mail.event]}: {reason_without_values(alert)}",
            "",
            f"Model:       {alert.model}",
            f"What:        {alert.what}",
            f"Severity:    {alert.severity}",
            f"Monitor:     {alert.monitor}",
            f"Opened:      {_time(alert.opened_at)}",
            f"Last window: until {_time(alert.window_until)}",
            *_state(alert),
            "",
            f"This is alert {alert.pk} of {settings.APP_NAME}: GET /api/v1/alerts/{alert.pk}/",
        ]
    )


def _state(alert: Alert) -> list[str]:
    lines = []
    if alert.acknowledged_at and alert.acknowledged_by_id:
        lines.append(f"Acknowledged: {_time(alert.acknowledged_at)}")
    if alert.closed_at:
        lines.append(f"Closed:      {_time(alert.closed_at)}")
    return lines


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def measure() -> Backlog:
    """The mails that have not been sent, and since when the oldest is due."""
    pending = AlertMail.objects.pending()
    now = clock.now()
    oldest = pending.filter(due_at__lte=now).order_by("due_at").values_list("due_at").first()
    return Backlog(pending.count(), (now - oldest[0]).total_seconds() if oldest else 0.0)


def tidy() -> None:
    """Remove finished mails, which contain addresses, after WEBHOOK_KEEP_DAYS."""
    before = clock.now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS)
    AlertMail.objects.filter(finished_at__lt=before).delete()


ALERT_MAILS = Kind(
    "alert-mails", "Sends the mails about alerts of monitors", take_due, send, measure=measure
)
