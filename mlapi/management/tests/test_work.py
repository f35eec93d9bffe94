"""`manage.py work`: what it does once, which kinds, and how it ends."""

import signal
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from registry.models import RecurringWork, Webhook, WebhookDelivery
from registry.webhooks import outbox


@pytest.fixture
def due() -> WebhookDelivery:
    """A delivery that fails at once, since its server is not allowed."""
    webhook = Webhook.objects.create(name="chat", url="https://hooks.example.com/")
    return outbox.publish_test(webhook)


@pytest.fixture
def keep_signals() -> Iterator[None]:
    """The command sets handlers, which the tests must not keep."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("keep_signals")
def test_once_ends_when_nothing_is_due(due: WebhookDelivery) -> None:
    call_command("work", once=True, kinds="webhooks")

    due.refresh_from_db()
    assert due.attempts == 1
    assert "WEBHOOK_ORIGINS" in due.last_error
    assert due.due_at > timezone.now()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("keep_signals")
def test_only_the_chosen_kinds_are_worked_on(due: WebhookDelivery) -> None:
    call_command("work", once=True, kinds="webhook-tidying")

    due.refresh_from_db()
    assert due.attempts == 0
    assert RecurringWork.objects.get().name == "webhook-tidying"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": "webhooks,nothing"}, "'nothing' is not a kind of work; there are .*webhooks"),
        ({"kinds": ""}, "'' is not a kind of work"),
    ],
)
def test_unknown_kind_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("work", **options)
