"""Mails about alerts: sent by a worker, at least once, however long the mail server is away."""

import smtplib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail as outbox
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.utils import timezone

from predictions.evaluation.monitoring.alerts import mail
from predictions.evaluation.monitoring.alerts.announcements import ALERT_OPENED, announce
from predictions.models import Alert, AlertMail
from predictions.testing.monitors import make_alert, make_monitor
from predictions.testing.rows import REGRESSOR_SIGNATURE, make_version
from registry.work.worker import Worker

HERE = __name__
failure: Exception | None = None


class FailingBackend(BaseEmailBackend):
    """A mail server that refuses everything in one way."""

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        assert failure is not None
        raise failure


@pytest.fixture(autouse=True)
def server(settings: LazySettings) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    settings.DEFAULT_FROM_EMAIL = "ML <mlapi@example.com>"


@pytest.fixture
def alert(db: None) -> Alert:
    version = make_version(REGRESSOR_SIGNATURE)
    monitor = make_monitor(version, emails=["a@example.com", "b@example.com"])
    alert = make_alert(version, monitor=monitor, variable="input:two\nlines")
    with transaction.atomic():
        announce(ALERT_OPENED, alert)
    return alert


def fail_with(settings: LazySettings, error: Exception) -> None:
    global failure
    failure = error
    settings.EMAIL_BACKEND = f"{HERE}.FailingBackend"


def send_next() -> AlertMail | None:
    row = mail.take_due()
    if row is not None:
        mail.send(row)
    return row


def test_each_address_gets_a_mail_of_its_own(alert: Alert) -> None:
    first, second, third = send_next(), send_next(), send_next()

    assert (first is None, second is None, third) == (False, False, None)
    sent = outbox.outbox
    assert [message.to for message in sent] == [["a@example.com"], ["b@example.com"]]
    message = sent[0]
    assert message.subject == "Alert: m:1, input drift of two lines (warning)"
    assert message.from_email == "ML <mlapi@example.com>"
    assert alert.reason in message.body
    assert f"/api/v1/alerts/{alert.pk}/" in message.body
    assert first is not None
    assert message.extra_headers["Message-ID"] == f"<mlapi-alert-{alert.pk}-{first.pk}@example.com>"
    assert message.message()["Message-ID"] == message.extra_headers["Message-ID"]
    assert not AlertMail.objects.pending().exists()


@pytest.mark.parametrize(
    ("kind", "variable", "segment", "what"),
    [
        (
            "input_drift",
            "input:age",
            "feature:plan=gold",
            "input drift of age in feature:plan=gold",
        ),
        ("input_drift", "input:input", "", "input drift of input"),
        ("confidence_drift", "confidence", "", "confidence drift"),
        ("failures", "", "arm=canary", "failures in arm=canary"),
    ],
)
def test_an_alert_says_what_it_is_about(kind: str, variable: str, segment: str, what: str) -> None:
    assert Alert(kind=kind, variable=variable, segment=segment).what == what


def test_mails_wait_while_the_server_is_away(alert: Alert, settings: LazySettings) -> None:
    working = settings.EMAIL_BACKEND
    fail_with(settings, ConnectionRefusedError("no server"))
    send_next()
    send_next()

    rows = AlertMail.objects.pending()
    assert {(row.attempts, row.last_error) for row in rows} == {
        (1, "ConnectionRefusedError: no server")
    }
    assert all(row.due_at > timezone.now() for row in rows)
    assert mail.take_due() is None
    assert mail.measure().pending == 2

    settings.EMAIL_BACKEND = working
    rows.update(due_at=timezone.now())
    send_next()
    send_next()
    assert len(outbox.outbox) == 2
    assert mail.measure().pending == 0


def test_an_address_that_the_server_does_not_know_is_given_up(
    alert: Alert, settings: LazySettings
) -> None:
    fail_with(settings, smtplib.SMTPRecipientsRefused({"a@example.com": (550, b"unknown")}))
    send_next()
    row = AlertMail.objects.order_by("id")[0]
    assert row.finished_at is not None
    assert "550" in row.last_error

    fail_with(settings, smtplib.SMTPRecipientsRefused({"b@example.com": (450, b"busy")}))
    send_next()
    assert AlertMail.objects.pending().count() == 1


def test_a_mail_is_given_up_after_three_days(alert: Alert, settings: LazySettings) -> None:
    fail_with(settings, smtplib.SMTPServerDisconnected("gone"))
    AlertMail.objects.update(created_at=timezone.now() - timedelta(days=3, minutes=1))

    send_next()
    send_next()

    assert not AlertMail.objects.pending().exists()


def test_a_worker_that_dies_in_between_leaves_the_mail_to_the_next(alert: Alert) -> None:
    taken = mail.take_due()
    assert taken is not None
    assert mail.take_due() != taken
    AlertMail.objects.update(due_at=timezone.now())

    again = mail.take_due()
    assert again == taken
    mail.send(again)
    mail.send(taken)  # after its lease: it changes nothing

    assert AlertMail.objects.get(pk=taken.pk).attempts == 2
    ids = {message.extra_headers["Message-ID"] for message in outbox.outbox}
    assert len(ids) == 1


def test_nothing_is_sent_without_a_server(alert: Alert, settings: LazySettings) -> None:
    settings.EMAIL_HOST = ""

    assert mail.take_due() is None
    assert AlertMail.objects.pending().count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_worker_sends_mails(alert: Alert) -> None:
    worker = Worker([mail.ALERT_MAILS], threads=2)
    worker.run_due()

    assert worker.totals.done == 2
    assert len(outbox.outbox) == 2


def test_old_mails_are_removed(alert: Alert, settings: LazySettings) -> None:
    old = timezone.now() - timedelta(days=settings.WEBHOOK_KEEP_DAYS, minutes=1)
    first = AlertMail.objects.order_by("id")[0]
    AlertMail.objects.filter(pk=first.pk).update(finished_at=old, created_at=old)

    mail.tidy()

    assert not AlertMail.objects.filter(pk=first.pk).exists()
    assert AlertMail.objects.count() == 1


@pytest.mark.parametrize(
    "error",
    [
        smtplib.SMTPRecipientsRefused({"a@example.com": (550, b"a@example.com unknown")}),
        ValueError("Header values can't contain a@example.com"),
    ],
)
def test_logs_do_not_name_an_address(
    alert: Alert, settings: LazySettings, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    fail_with(settings, error)

    row = send_next()

    assert row is not None
    assert type(error).__name__ in caplog.text
    assert "example.com" not in caplog.text
    row.refresh_from_db()
    assert row.last_error.startswith(type(error).__name__)
