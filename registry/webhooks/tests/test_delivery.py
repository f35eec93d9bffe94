"""One attempt after the other: what the target gets, and what its responses mean."""

import base64
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone
from standardwebhooks import Webhook as StandardWebhook
from standardwebhooks import WebhookVerificationError

from registry.database import clock
from registry.models import Webhook, WebhookDelivery
from registry.webhooks import outbox
from registry.webhooks.delivery import attempts, signing
from registry.webhooks.delivery.sending import Response
from registry.webhooks.tests.conftest import MakeWebhook
from registry.webhooks.tests.receiver import Receiver

State = WebhookDelivery.State


def attempt() -> WebhookDelivery:
    """Make the next attempt that is due; the row after it."""
    taken = attempts.take_due()
    assert taken is not None
    attempts.deliver(taken)
    taken.refresh_from_db()
    return taken


def make_due(row: WebhookDelivery) -> None:
    """As if the time until the next attempt had passed."""
    WebhookDelivery.objects.filter(pk=row.pk).update(due_at=timezone.now())
    Webhook.objects.update(paused_until=None)


def test_message_is_delivered_with_a_signature_that_another_implementation_verifies(
    receiver: Receiver, webhook: Webhook
) -> None:
    sent = outbox.publish_test(webhook)

    row = attempt()

    (headers, body) = receiver.messages[0]
    secret = signing.secret_of(webhook.salt)
    assert StandardWebhook(secret).verify(body, headers) == json.loads(body) == sent.payload
    assert headers["webhook-id"] == str(sent.event_id)
    assert headers["content-type"] == "application/json"
    assert receiver.paths == ["/hooks?team=ml"]
    assert (row.state, row.attempts, row.last_status) == (State.DELIVERED, 1, 204)
    assert attempts.take_due() is None
    with pytest.raises(WebhookVerificationError):
        StandardWebhook(signing.secret_of("another")).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        StandardWebhook(secret).verify(body + b" ", headers)


def test_secret_has_the_form_of_the_specification(webhook: Webhook) -> None:
    secret = signing.secret_of(webhook.salt)

    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != signing.secret_of("another")


def test_last_secret_stays_valid_for_a_day_after_a_rotation(
    receiver: Receiver, webhook: Webhook
) -> None:
    old = signing.secret_of(webhook.salt)
    new = signing.secret_of(webhook.rotate())
    outbox.publish_test(webhook)
    attempt()
    Webhook.objects.update(rotated_at=timezone.now() - timedelta(hours=25))
    outbox.publish_test(webhook)
    attempt()

    (headers, body), (later_headers, later_body) = receiver.messages
    assert StandardWebhook(old).verify(body, headers)
    assert StandardWebhook(new).verify(body, headers)
    assert StandardWebhook(new).verify(later_body, later_headers)
    with pytest.raises(WebhookVerificationError):
        StandardWebhook(old).verify(later_body, later_headers)


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_refused_message_is_tried_again_later(
    receiver: Receiver, webhook: Webhook, status: int
) -> None:
    receiver.status, receiver.body = status, b"out of\nservice" + bytes(5000)
    outbox.publish_test(webhook)

    row = attempt()

    assert (row.state, row.last_status) == (State.PENDING, status)
    assert row.last_error.startswith(f"The server responded with status {status}: out of service")
    assert len(row.last_error) < 300
    seconds = (row.due_at - timezone.now()).total_seconds()
    assert 1 < seconds <= attempts.FIRST_RETRY_SECONDS * (1 + attempts.JITTER)
    assert attempts.take_due() is None

    receiver.status = 200
    make_due(row)
    row = attempt()
    assert (row.state, row.attempts, row.last_error) == (State.DELIVERED, 2, "")
    # The message keeps its ID, so that the receiver can tell.
    assert len({headers["webhook-id"] for headers, _ in receiver.messages}) == 1


def test_pauses_between_attempts_grow_to_hours(webhook: Webhook) -> None:
    row = outbox.publish_test(webhook)
    pauses = []
    for row.attempts in range(1, 30):
        retry_at = attempts._retry_at(row, Response(500), datetime(2026, 1, 1, tzinfo=UTC))
        pauses.append((retry_at - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds())

    assert all(4 <= a < b for a, b in pairwise(pauses[:6]))
    assert all(17_000 < pause < 26_000 for pause in pauses[8:])
    # In three days there are enough attempts.
    assert 12 < sum(pause < 259_200 for pause in _sums(pauses)) < 30


def _sums(numbers: list[float]) -> list[float]:
    return [sum(numbers[: n + 1]) for n in range(len(numbers))]


def test_retry_after_is_respected_by_all_messages_of_the_target(
    receiver: Receiver, webhook: Webhook
) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "3600"}
    outbox.publish_test(webhook)
    outbox.publish_test(webhook)

    row = attempt()

    assert 3500 < (row.due_at - timezone.now()).total_seconds() < 3700
    assert attempts.take_due() is None
    assert len(receiver.messages) == 1


def test_message_is_given_up_after_three_days(receiver: Receiver, webhook: Webhook) -> None:
    receiver.status = 500
    row = outbox.publish_test(webhook)
    assert timedelta(days=2.9) < row.give_up_at - row.created_at < timedelta(days=3.1)
    WebhookDelivery.objects.update(give_up_at=timezone.now() + timedelta(seconds=1))

    row = attempt()

    assert (row.state, row.last_status) == (State.FAILED, 500)
    assert row.finished_at is not None
    assert attempts.take_due() is None


def test_target_that_is_gone_is_disabled(receiver: Receiver, webhook: Webhook) -> None:
    receiver.status = 410
    outbox.publish_test(webhook)
    outbox.publish_test(webhook)

    row = attempt()

    webhook.refresh_from_db()
    assert (row.state, webhook.is_active) == (State.FAILED, False)
    assert "410" in webhook.disabled_reason
    assert attempts.take_due() is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(receiver: Receiver, webhook: Webhook, status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": f"{receiver.origin}/elsewhere"}
    outbox.publish_test(webhook)

    row = attempt()

    assert (row.state, row.last_status) == (State.PENDING, status)
    assert "redirect" in row.last_error
    assert receiver.paths == ["/hooks?team=ml"]


def test_target_that_does_not_answer_is_left_after_its_time(
    receiver: Receiver, webhook: Webhook, settings: LazySettings
) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.3
    receiver.delay_seconds = 30
    outbox.publish_test(webhook)
    outbox.publish_test(webhook)

    started = time.monotonic()
    row = attempt()

    assert time.monotonic() - started < 20
    assert (row.state, row.last_status) == (State.PENDING, None)
    assert row.last_error == "The server did not respond in time"
    # Its whole backlog is not tried against a target that is down.
    assert attempts.take_due() is None
    webhook.refresh_from_db()
    assert webhook.failures == 1


def test_target_that_answers_again_is_not_paused_any_more(
    receiver: Receiver, webhook: Webhook
) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Webhook.objects.update(failures=5, paused_until=past)
    outbox.publish_test(webhook)

    attempt()

    webhook.refresh_from_db()
    assert (webhook.failures, webhook.paused_until) == (0, None)


def test_delivery_of_a_worker_that_died_is_taken_again_after_its_lease(
    receiver: Receiver, webhook: Webhook
) -> None:
    outbox.publish_test(webhook)
    dead = attempts.take_due()
    assert dead is not None
    assert attempts.take_due() is None

    WebhookDelivery.objects.update(due_at=timezone.now(), locked_until=timezone.now())
    row = attempt()
    # The worker was not dead after all: its result comes too late.
    attempts.record(dead, Response(500, "late"))

    row.refresh_from_db()
    assert (row.state, row.attempts, row.last_error) == (State.DELIVERED, 2, "")


def test_one_target_has_few_attempts_under_way_and_does_not_block_others(
    make_webhook: MakeWebhook,
) -> None:
    slow, other = make_webhook(), make_webhook()
    for _ in range(5):
        outbox.publish_test(slow)
    outbox.publish_test(other)

    taken = [row.webhook for _ in range(6) if (row := attempts.take_due()) is not None]

    assert taken == [slow, other, slow]


def test_row_that_another_worker_took_in_between_is_left_to_it(
    make_webhook: MakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = outbox.publish_test(make_webhook())
    assert attempts.take_due() == row
    monkeypatch.setattr(attempts, "_first_due_id", lambda now: row.pk)

    assert attempts.take_due() is None

    row.refresh_from_db()
    assert row.attempts == 1


@pytest.mark.django_db(transaction=True)
def test_each_delivery_is_taken_once_by_workers_at_the_same_time(
    make_webhook: MakeWebhook,
) -> None:
    webhooks = [make_webhook(), make_webhook()]
    rows = [outbox.publish_test(webhook) for _ in range(30) for webhook in webhooks]
    taken: list[int] = []

    def work() -> None:
        deadline = time.monotonic() + 60
        while len(taken) < len(rows) and time.monotonic() < deadline:
            if (row := attempts.take_due()) is not None:
                attempts.record(row, Response(204))
                taken.append(row.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == [row.pk for row in rows]


def test_delivery_is_taken_with_two_queries_and_an_update(
    make_webhook: MakeWebhook, django_assert_num_queries: object
) -> None:
    for _ in range(3):
        outbox.publish_test(make_webhook())

    with django_assert_num_queries(3):  # type: ignore[operator]
        assert attempts.take_due() is not None


def test_target_that_is_not_allowed_any_more_is_not_called(
    receiver: Receiver, webhook: Webhook, settings: LazySettings
) -> None:
    settings.WEBHOOK_ORIGINS = ["https://hooks.example.com"]
    outbox.publish_test(webhook)

    row = attempt()

    assert "WEBHOOK_ORIGINS" in row.last_error
    assert receiver.messages == []


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED])
def test_message_is_sent_again_with_the_same_id(
    receiver: Receiver, webhook: Webhook, state: State
) -> None:
    row = outbox.publish_test(webhook)
    WebhookDelivery.objects.update(
        state=state, attempts=9, finished_at=timezone.now(), give_up_at=timezone.now()
    )

    attempts.resend(row)
    row = attempt()

    assert (row.state, row.attempts) == (State.DELIVERED, 1)
    assert receiver.messages[0][0]["webhook-id"] == str(row.event_id)


def test_a_message_that_is_sent_again_is_due_by_the_clock_of_the_database(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = outbox.publish_test(webhook)
    monkeypatch.setattr(clock, "_offset", timedelta(hours=-1))

    attempts.resend(row)

    row.refresh_from_db()
    assert row.due_at <= clock.now()


def test_backlog_counts_what_waits(make_webhook: MakeWebhook) -> None:
    assert attempts.measure().pending == 0
    row = outbox.publish_test(make_webhook())
    due_at = timezone.now() - timedelta(minutes=5)
    WebhookDelivery.objects.filter(pk=row.pk).update(due_at=due_at)
    outbox.publish_test(make_webhook(is_active=False))

    backlog = attempts.measure()

    assert backlog.pending == 1
    assert 299 < backlog.oldest_seconds < 400
