"""The work of webhooks, for the worker."""

from datetime import timedelta

from registry.webhooks import delivery
from registry.webhooks.housekeeping import tidy
from registry.work.kinds import Kind
from registry.work.recurring import recurring

DELIVERIES = Kind(
    "webhooks",
    "Delivers events to webhooks",
    delivery.take_due,
    delivery.deliver,
    max_concurrency=delivery.MAX_CONCURRENT,
    measure=delivery.measure,
)
TIDYING = recurring(
    "webhook-tidying",
    "Removes deliveries that are older than WEBHOOK_KEEP_DAYS",
    tidy,
    every=timedelta(hours=1),
)
