"""Changing targets: each change is one transaction with its entry in the audit trail.

The trail names the server of a target and not its URL, which may contain a secret.
"""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from django.db import IntegrityError, transaction

from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.models import AuditEvent, Webhook, WebhookDelivery
from registry.webhooks import outbox
from registry.webhooks.delivery import attempts
from registry.webhooks.urls import read_url


class WebhookExists(Exception):
    """The name is taken. The message can be shown to the caller."""


class WebhookFields(TypedDict, total=False):
    """What users set. The URL is one that `allowed_target` accepts."""

    name: str
    url: str
    events: Sequence[str]
    model_names: Sequence[str]
    is_active: bool


def create(*, accessor: Accessor = SYSTEM, **fields: Unpack[WebhookFields]) -> Webhook:
    """Raises WebhookExists."""
    webhook = Webhook(created_by=accessor.user, **fields)
    with transaction.atomic():
        _save(webhook)
        _record("created", webhook, accessor, fields)
    return webhook


def update(
    webhook: Webhook, *, accessor: Accessor = SYSTEM, **fields: Unpack[WebhookFields]
) -> None:
    """Change these fields only. One that is activated is tried at once. Raises WebhookExists."""
    if fields.get("is_active"):
        webhook.disabled_reason, webhook.failures, webhook.paused_until = "", 0, None
    for name, value in fields.items():
        setattr(webhook, name, value)
    with transaction.atomic():
        _save(webhook, [*fields, "disabled_reason", "failures", "paused_until"])
        _record("changed", webhook, accessor, fields)


def rotate(webhook: Webhook, *, accessor: Accessor = SYSTEM) -> None:
    """Replace the secret. Messages are signed with the last one as well for ROTATION_OVERLAP."""
    with transaction.atomic():
        webhook.rotate()
        _record("rotated the secret", webhook, accessor)


def delete(webhook: Webhook, *, accessor: Accessor = SYSTEM) -> None:
    """Delete the target with all of its deliveries."""
    with transaction.atomic():
        _record("deleted", webhook, accessor)
        webhook.delete()


def send_test(webhook: Webhook, *, accessor: Accessor = SYSTEM) -> WebhookDelivery:
    with transaction.atomic():
        _record("sent a test message", webhook, accessor)
        return outbox.publish_test(webhook)


def resend(row: WebhookDelivery, *, accessor: Accessor = SYSTEM) -> None:
    """Make a delivery due now, whatever its state."""
    with transaction.atomic():
        _record(f"sent {row} again", row.webhook, accessor)
        attempts.resend(row)


def _save(webhook: Webhook, fields: Sequence[str] | None = None) -> None:
    try:
        # The savepoint keeps an open transaction usable for the query below.
        with transaction.atomic():
            webhook.save(update_fields=fields, force_insert=fields is None)
    except IntegrityError as error:
        if Webhook.objects.filter(name=webhook.name).exclude(pk=webhook.pk).exists():
            raise WebhookExists(f"There is another webhook with the name {webhook.name}") from error
        raise


def _record(
    change: str, webhook: Webhook, accessor: Accessor, fields: WebhookFields | None = None
) -> None:
    details: dict[str, object] = {"change": change, "server": str(read_url(webhook.url).origin)}
    if fields:
        details["fields"] = {name: value for name, value in fields.items() if name != "url"}
    audit.record(AuditEvent.Action.WEBHOOK_CHANGED, accessor, target=webhook.name, details=details)
