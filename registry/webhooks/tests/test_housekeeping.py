"""What is removed, and what is given up."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from registry.models import WebhookDelivery
from registry.webhooks import outbox
from registry.webhooks.delivery import attempts, housekeeping
from registry.webhooks.delivery.kinds import TIDYING
from registry.webhooks.tests.conftest import MakeWebhook

State = WebhookDelivery.State


def tidy() -> None:
    turn = TIDYING.take_due()
    assert turn is not None
    TIDYING.run(turn, lambda: False)


@pytest.fixture(autouse=True)
def fresh_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test's worker may have noted when the work is due again."""
    schedule = TIDYING.take_due.__self__  # type: ignore[attr-defined]
    monkeypatch.setattr(schedule, "_look_at", 0.0)


def test_old_deliveries_are_removed_in_chunks_and_pending_ones_kept(
    make_webhook: MakeWebhook, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "CHUNK_ROWS", 2)
    settings.WEBHOOK_KEEP_DAYS = 10
    now = timezone.now()
    rows = [outbox.publish_test(make_webhook()) for _ in range(8)]
    old = {"created_at": now - timedelta(days=11), "finished_at": now}
    ids = [row.pk for row in rows]
    WebhookDelivery.objects.filter(pk__in=ids[:5]).update(state=State.DELIVERED, **old)
    WebhookDelivery.objects.filter(pk=ids[5]).update(state=State.FAILED, finished_at=now)
    WebhookDelivery.objects.filter(pk=ids[6]).update(created_at=now - timedelta(days=11))

    tidy()

    assert sorted(WebhookDelivery.objects.values_list("pk", flat=True)) == ids[5:]


def test_delivery_of_an_inactive_webhook_is_given_up_in_the_end(
    make_webhook: MakeWebhook,
) -> None:
    row = outbox.publish_test(make_webhook(is_active=False))
    WebhookDelivery.objects.update(give_up_at=timezone.now() - timedelta(hours=13))

    tidy()

    row.refresh_from_db()
    assert row.state == State.FAILED
    assert "inactive" in row.last_error


def test_delivery_of_a_worker_that_died_is_given_up_or_sent_again(
    make_webhook: MakeWebhook,
) -> None:
    hours_ago = timezone.now() - timedelta(hours=13)
    row = outbox.publish_test(make_webhook(is_active=False))
    WebhookDelivery.objects.update(give_up_at=hours_ago, locked_until=hours_ago)
    attempts.resend(row)
    row.refresh_from_db()
    assert row.give_up_at > hours_ago
    WebhookDelivery.objects.update(give_up_at=hours_ago, locked_until=hours_ago)

    tidy()

    row.refresh_from_db()
    assert row.state == State.FAILED
