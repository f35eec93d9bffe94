"""The admin pages of webhooks and deliveries."""

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from registry.models import AuditEvent, RecurringWork, Webhook, WebhookDelivery
from registry.testing.clients import form_errors, text_of
from registry.webhooks import outbox
from registry.webhooks.delivery import signing
from registry.webhooks.tests.conftest import MakeWebhook

WEBHOOKS = "/admin/registry/webhook/"
DELIVERIES = "/admin/registry/webhookdelivery/"
FORM = {
    "name": "chat",
    "url": "https://hooks.example.com/in",
    "events": ["alias.moved", "replay.finished"],
    "model_names": "iris\nwine, rose",
    "is_active": "on",
}


@pytest.fixture(autouse=True)
def allowed(settings: LazySettings) -> None:
    settings.WEBHOOK_ORIGINS = ["https://hooks.example.com"]


def test_target_is_added_and_its_secret_shown_once(admin_client: Client) -> None:
    response = admin_client.post(f"{WEBHOOKS}add/", FORM)

    webhook = Webhook.objects.get()
    assert signing.secret_of(webhook.salt) in text_of(response)
    assert "no-store" in response["Cache-Control"]
    assert webhook.events == ["alias.moved", "replay.finished"]
    assert webhook.model_names == ["iris", "wine", "rose"]
    assert webhook.created_by is not None
    assert AuditEvent.objects.filter(action="webhook_changed", target="chat").exists()
    for page in (WEBHOOKS, f"{WEBHOOKS}{webhook.pk}/change/"):
        text = text_of(admin_client.get(page))
        assert "chat" in text
        assert "whsec_" not in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://evil.example.com/"),
        ("url", "javascript:alert(1)"),
        ("model_names", "../etc"),
        ("events", ["model.vanished"]),
        ("name", "taken"),
        ("name", ""),
    ],
)
def test_invalid_field_is_refused_at_the_field(
    admin_client: Client, make_webhook: MakeWebhook, field: str, value: object
) -> None:
    make_webhook(name="taken")

    response = admin_client.post(f"{WEBHOOKS}add/", {**FORM, field: value})

    assert list(form_errors(response)) == [field]
    assert Webhook.objects.count() == 1


def test_target_is_changed_and_the_change_recorded(
    admin_client: Client, make_webhook: MakeWebhook
) -> None:
    webhook = make_webhook(is_active=False, disabled_reason="gone", failures=3)

    response = admin_client.post(f"{WEBHOOKS}{webhook.pk}/change/", FORM)

    assert response.status_code == 302
    webhook.refresh_from_db()
    assert (webhook.name, webhook.is_active, webhook.disabled_reason) == ("chat", True, "")
    event = AuditEvent.objects.get(action="webhook_changed")
    assert event.details["fields"]["model_names"] == ["iris", "wine", "rose"]


def test_secret_is_replaced_and_shown(admin_client: Client, make_webhook: MakeWebhook) -> None:
    webhook = make_webhook()

    response = admin_client.post(
        WEBHOOKS, {"action": "rotate_secret", "_selected_action": [webhook.pk]}
    )

    text = text_of(response)
    assert signing.secret_of(webhook.salt) not in text
    webhook.refresh_from_db()
    assert signing.secret_of(webhook.salt) in text


def test_test_message_is_sent_from_the_list(
    admin_client: Client, make_webhook: MakeWebhook
) -> None:
    webhook = make_webhook()

    admin_client.post(WEBHOOKS, {"action": "send_test", "_selected_action": [webhook.pk]})

    assert WebhookDelivery.objects.get().event == "webhook.test"


def test_target_is_deleted_with_its_deliveries(
    admin_client: Client, make_webhook: MakeWebhook
) -> None:
    webhook = make_webhook()
    outbox.publish_test(webhook)

    assert "with its deliveries" in text_of(admin_client.get(f"{WEBHOOKS}{webhook.pk}/delete/"))
    admin_client.post(f"{WEBHOOKS}{webhook.pk}/delete/", {"post": "yes"})

    assert not Webhook.objects.exists()
    assert AuditEvent.objects.get(action="webhook_changed").details["change"] == "deleted"


def test_deliveries_are_listed_filtered_and_sent_again(
    admin_client: Client, make_webhook: MakeWebhook
) -> None:
    webhook = make_webhook()
    row = outbox.publish_test(webhook)
    WebhookDelivery.objects.update(
        state="failed", finished_at=timezone.now(), last_error="out of service"
    )

    text = text_of(admin_client.get(f"{DELIVERIES}?state=failed&event=webhook.test"))
    assert "out of service" in text
    assert "0 webhook deliveries" in text_of(admin_client.get(f"{DELIVERIES}?state=pending"))
    assert str(row.event_id) in text_of(admin_client.get(f"{DELIVERIES}{row.pk}/change/"))
    admin_client.post(DELIVERIES, {"action": "resend", "_selected_action": [row.pk]})

    row.refresh_from_db()
    assert row.state == "pending"


def test_deliveries_cannot_be_changed_or_deleted(
    admin_client: Client, make_webhook: MakeWebhook
) -> None:
    row = outbox.publish_test(make_webhook())

    assert admin_client.post(f"{DELIVERIES}{row.pk}/change/", {}).status_code == 403
    assert admin_client.post(f"{DELIVERIES}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_recurring_work_is_listed(admin_client: Client) -> None:
    RecurringWork.objects.create(name="tidying", due_at=timezone.now(), error="no disk")

    assert "no disk" in text_of(admin_client.get("/admin/registry/recurringwork/"))
