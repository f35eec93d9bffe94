from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings

from registry.models import Webhook
from registry.webhooks.tests.receiver import Receiver, receiving

MakeWebhook = Callable[..., Webhook]


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    """A server that webhooks may call."""
    with receiving() as receiver:
        settings.WEBHOOK_ORIGINS = [receiver.origin]
        settings.WEBHOOK_PRIVATE_ADDRESSES = True
        yield receiver


@pytest.fixture
def make_webhook(db: None) -> MakeWebhook:
    def make(url: str = "https://hooks.example.com/in", **fields: object) -> Webhook:
        name = f"webhook {Webhook.objects.count() + 1}"
        return Webhook.objects.create(**{"name": name, "url": url, **fields})

    return make


@pytest.fixture
def webhook(make_webhook: MakeWebhook, receiver: Receiver) -> Webhook:
    return make_webhook(receiver.url)
