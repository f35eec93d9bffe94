"""Publishing an event: a row for each target, in the transaction of the change."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import connection

from registry.database import clock
from registry.exact_json.values import JSONObject
from registry.models import Webhook, WebhookDelivery
from registry.webhooks import events
from registry.webhooks.events import Event

# Of the envelope and of all events. A change that breaks receivers gets a new number.
PAYLOAD_VERSION = 1


class OutsideTransaction(Exception):
    """The event and its change would not be committed together: an error in the program."""


def publish(event: Event, model: str, data: Mapping[str, object]) -> None:
    """Send an event to the webhooks that want it, if the open transaction is committed.

    `model` is the name of the model that the event is about. `data` must be JSON without personal
    data: IDs, names and figures. Costs one query, and one INSERT if any webhook wants the event.
    Raises OutsideTransaction or UnknownEvent.
    """
    events.require_declared(event)
    if not connection.in_atomic_block:
        raise OutsideTransaction(f"{event.name} must be published in the transaction of the change")
    targets = [
        webhook
        for webhook in Webhook.objects.filter(is_active=True)
        if webhook.wants(event.name, model)
    ]
    if targets:
        message = _message(event, {"model": model, **data})
        WebhookDelivery.objects.bulk_create(
            WebhookDelivery(webhook=webhook, model=model, **message) for webhook in targets
        )


def publish_test(webhook: Webhook) -> WebhookDelivery:
    """Send a test message to one webhook, whatever events it wants."""
    message = _message(events.TEST, {"webhook": webhook.name})
    return WebhookDelivery.objects.create(webhook=webhook, **message)


def _message(event: Event, data: JSONObject) -> dict[str, Any]:
    """The columns of a delivery that are the same for all targets."""
    event_id, now = uuid.uuid4(), clock.now()
    return {
        "event_id": event_id,
        "event": event.name,
        "payload": {
            "id": str(event_id),
            "type": event.name,
            "payload_version": PAYLOAD_VERSION,
            "timestamp": now.isoformat().replace("+00:00", "Z"),
            "data": data,
        },
        "created_at": now,
        "due_at": now,
    }
