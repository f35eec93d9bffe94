"""Delivering events: which one is next, what its response means, and when it is tried again."""

import logging
import random
from datetime import datetime, timedelta

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from registry.database import clock
from registry.metrics import WEBHOOK_ATTEMPTS
from registry.models import Webhook, WebhookDelivery
from registry.models.webhooks import MAX_DELIVERY_AGE, MAX_DELIVERY_ERROR_LENGTH
from registry.webhooks.delivery import sending, signing
from registry.webhooks.delivery.sending import Response
from registry.webhooks.urls import InvalidURL, allowed_target
from registry.work.kinds import Backlog, IsStopping

# Attempts at the same time for one target, by all workers: a slow one holds no more threads.
MAX_CONCURRENT_PER_TARGET = 2
# Of all targets, in each worker.
MAX_CONCURRENT = 8
# Longer than an attempt can take, for the statements around it and for clocks that differ.
LEASE_MARGIN = timedelta(seconds=15)
# Before the second, third ... attempt: 5 s, 20 s, 80 s and so on; the jitter is a fifth.
FIRST_RETRY_SECONDS, RETRY_FACTOR, MAX_RETRY_SECONDS = 5.0, 4.0, 6 * 3600.0
JITTER = 0.2
# A target that does not answer gets nothing for 1, 2, 4 ... seconds: not its whole backlog at once.
MAX_PAUSE_SECONDS = 60.0
# Others may take the same row first; then the next one is tried.
MAX_TRIES = 10

logger = logging.getLogger(__name__)


def take_due() -> WebhookDelivery | None:
    """Claim the delivery that is due first of the target with the fewest under way.

    Its cost depends on the number of targets and not on the length of their backlogs.
    """
    for _ in range(MAX_TRIES):
        now = clock.now()
        delivery_id = _first_due_id(now)
        if delivery_id is None:
            return None
        lease_until = now + timedelta(seconds=settings.WEBHOOK_TIMEOUT_SECONDS) + LEASE_MARGIN
        # Compare and swap: a row that another worker has taken is not due any more.
        due = WebhookDelivery.objects.pending().filter(pk=delivery_id, due_at__lte=now)
        if due.update(
            locked_until=lease_until,
            due_at=lease_until,
            attempted_at=now,
            attempts=F("attempts") + 1,
        ):
            mine = WebhookDelivery.objects.filter(pk=delivery_id, locked_until=lease_until)
            return mine.select_related("webhook").first()
    return None


def _first_due_id(now: datetime) -> int | None:
    deliveries = WebhookDelivery.objects.filter(webhook=OuterRef("pk"))
    due = deliveries.pending().filter(due_at__lte=now).order_by("due_at", "id")
    under_way = deliveries.filter(locked_until__gt=now).order_by().values("webhook")
    return (
        Webhook.objects.filter(Q(paused_until=None) | Q(paused_until__lte=now), is_active=True)
        .annotate(
            first_due_id=Subquery(due.values("pk")[:1]),
            under_way=Coalesce(Subquery(under_way.annotate(n=Count("pk")).values("n")), 0),
        )
        .filter(first_due_id__isnull=False, under_way__lt=MAX_CONCURRENT_PER_TARGET)
        .order_by("under_way", "first_due_id")
        .values_list("first_due_id", flat=True)
        .first()
    )


def deliver(delivery: WebhookDelivery, is_stopping: IsStopping = lambda: False) -> None:
    """Make one attempt at a delivery that `take_due` has returned, and record its result."""
    record(delivery, _send(delivery))


def _send(delivery: WebhookDelivery) -> Response:
    webhook = delivery.webhook
    try:
        target = allowed_target(webhook.url)
    except InvalidURL as error:
        return Response(None, str(error))
    body = orjson.dumps(delivery.payload)
    message_id = str(delivery.event_id)
    headers = signing.headers_of(message_id, clock.now(), body, webhook.valid_salts)
    return sending.post(target, body, headers)


def record(delivery: WebhookDelivery, response: Response) -> None:
    """Record the result of an attempt, unless its lease has ended and another one has begun."""
    now = clock.now()
    retry_at = _retry_at(delivery, response, now)
    is_last = response.is_gone or retry_at >= delivery.give_up_at
    changes: dict[str, object] = {
        "locked_until": None,
        "last_status": response.status,
        "last_error": response.error[:MAX_DELIVERY_ERROR_LENGTH],
    }
    if response.is_success or is_last:
        state = WebhookDelivery.State
        changes["state"] = state.DELIVERED if response.is_success else state.FAILED
        changes["finished_at"] = now
    else:
        changes["due_at"] = retry_at
    with transaction.atomic():
        mine = WebhookDelivery.objects.pending().filter(
            pk=delivery.pk, locked_until=delivery.locked_until
        )
        if mine.update(**changes):
            _note_health(delivery.webhook, response, now)
    result = "delivered" if response.is_success else "given_up" if is_last else "retried"
    WEBHOOK_ATTEMPTS.labels(result).inc()
    if is_last and not response.is_success:
        logger.error("Webhook %s did not get %s: %s", delivery.webhook, delivery, response.error)


def _retry_at(delivery: WebhookDelivery, response: Response, now: datetime) -> datetime:
    exponent = min(delivery.attempts - 1, 20)
    seconds = min(FIRST_RETRY_SECONDS * RETRY_FACTOR**exponent, MAX_RETRY_SECONDS)
    seconds *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 -- jitter
    return now + timedelta(seconds=max(seconds, response.retry_after_seconds))


def _note_health(webhook: Webhook, response: Response, now: datetime) -> None:
    """Pause a target that does not respond or asks for time; disable one that is gone."""
    row = Webhook.objects.filter(pk=webhook.pk)
    if response.is_gone:
        reason = f"The server responded on {now:%Y-%m-%d %H:%M} UTC that it is gone (status 410)"
        row.filter(is_active=True).update(is_active=False, disabled_reason=reason)
    elif response.status is None:
        pause_seconds = min(2.0 ** min(webhook.failures, 10), MAX_PAUSE_SECONDS)
        row.update(failures=F("failures") + 1, paused_until=now + timedelta(seconds=pause_seconds))
    elif response.retry_after_seconds:
        row.update(paused_until=now + timedelta(seconds=response.retry_after_seconds))
    elif webhook.failures or webhook.paused_until:
        row.update(failures=0, paused_until=None)


def resend(delivery: WebhookDelivery) -> None:
    """Make a delivery due now, whatever its state, with as many attempts as a new one.

    The message keeps its ID. An attempt that is under way is not disturbed.
    """
    now = clock.now()
    with transaction.atomic():
        WebhookDelivery.objects.not_under_way().filter(pk=delivery.pk).update(
            state=WebhookDelivery.State.PENDING,
            locked_until=None,
            due_at=now,
            give_up_at=now + MAX_DELIVERY_AGE,
            attempts=0,
            finished_at=None,
        )
        Webhook.objects.filter(pk=delivery.webhook_id).update(paused_until=None)


def measure() -> Backlog:
    """The pending deliveries of active targets, and since when the oldest is due."""
    pending = WebhookDelivery.objects.pending().filter(webhook__is_active=True)
    now = clock.now()
    oldest = pending.filter(due_at__lte=now).order_by("due_at").values_list("due_at").first()
    seconds = (now - oldest[0]).total_seconds() if oldest else 0.0
    return Backlog(pending.count(), seconds)
