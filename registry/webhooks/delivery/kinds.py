"""The work of webhooks, for the worker."""

from datetime import timedelta

from registry.webhooks.delivery import attempts
from registry.webhooks.delivery.housekeeping import tidy
from registry.work.kinds import Kind
from registry.work.recurring import recurring

DELIVERIES = Kind(
    "webhooks",
    "Delivers events to webhooks",
    attempts.take_due,
    attempts.deliver,
    max_concurrency=attempts.MAX_CONCURRENT,
    measure=attempts.measure,
)
TIDYING = recurring(
    "webhook-tidying",
    "Removes deliveries that are older than WEBHOOK_KEEP_DAYS",
    tidy,
    every=timedelta(hours=1),
)
