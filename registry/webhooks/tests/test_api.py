"""/api/v1/webhooks/: targets, their secrets, their deliveries, and who may see them."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from registry.models import AuditEvent, Webhook, WebhookDelivery
from registry.testing.clients import api_client
from registry.webhooks import outbox
from registry.webhooks.delivery import attempts, signing
from registry.webhooks.tests.conftest import MakeWebhook

URL = "/api/v1/webhooks/"
TARGET = "https://hooks.example.com/in?key=hidden"


@pytest.fixture(autouse=True)
def allowed(settings: LazySettings) -> None:
    settings.WEBHOOK_ORIGINS = ["https://hooks.example.com"]


def create(api: APIClient, **fields: object) -> Any:
    return api.post(URL, {"name": "chat", "url": TARGET, **fields}, format="json")


def changes_in_trail() -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(action="webhook_changed").order_by("id")
    return [(event.target, event.details["change"]) for event in events]


def test_target_is_created_and_its_secret_is_in_no_other_response(admin_api: APIClient) -> None:
    response = create(admin_api, events=["alias.moved"], models=["iris"])

    webhook = Webhook.objects.get()
    assert response.status_code == 201
    assert response.json() == {
        "id": webhook.pk,
        "name": "chat",
        "url": TARGET,
        "events": ["alias.moved"],
        "models": ["iris"],
        "is_active": True,
        "disabled_reason": "",
        "failures": 0,
        "created_by": "grace",
        "created_at": response.json()["created_at"],
        "rotated_at": None,
        "secret": signing.secret_of(webhook.salt),
    }
    for path in (URL, f"{URL}{webhook.pk}/"):
        answer = admin_api.get(path)
        assert answer.status_code == 200
        assert "secret" not in answer.content.decode()


def test_neither_the_database_nor_the_audit_trail_contains_the_secret(
    admin_api: APIClient,
) -> None:
    secret = create(admin_api).json()["secret"]

    stored = [str(Webhook.objects.values().get()), str(list(AuditEvent.objects.values()))]
    assert not any(secret in text or secret.removeprefix("whsec_") in text for text in stored)
    assert "hidden" not in stored[1]
    assert "https://hooks.example.com:443" in stored[1]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 7}, "name"),
        ({"url": "https://evil.example.com/"}, "url"),
        ({"url": "https://user@hooks.example.com/"}, "url"),
        ({"url": "https://hooks.example.com/" + "x" * 2000}, "url"),
        ({"url": None}, "url"),
        ({"events": ["model.vanished"]}, "events.0"),
        ({"events": ["alias.moved", "alias.moved"]}, "events"),
        ({"events": "alias.moved"}, "events"),
        ({"models": ["../etc"]}, "models.0"),
        ({"is_active": 1}, "is_active"),
        ({"secret": "whsec_"}, "secret"),
    ],
)
def test_invalid_field_is_named(
    admin_api: APIClient, fields: dict[str, object], field: str
) -> None:
    response = create(admin_api, **fields)

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert not Webhook.objects.exists()


def test_message_for_a_forbidden_server_names_the_setting(admin_api: APIClient) -> None:
    errors = create(admin_api, url="https://evil.example.com/").json()["errors"]

    assert "WEBHOOK_ORIGINS" in errors["url"][0]


def test_name_is_taken_once(admin_api: APIClient, make_webhook: MakeWebhook) -> None:
    other = make_webhook()
    assert create(admin_api).status_code == 201

    assert create(admin_api).status_code == 409
    patch = admin_api.patch(f"{URL}{other.pk}/", {"name": "chat"}, format="json")
    assert patch.status_code == 409
    assert Webhook.objects.count() == 2


def test_fields_are_changed_one_by_one(admin_api: APIClient, make_webhook: MakeWebhook) -> None:
    webhook = make_webhook(events=["alias.moved"])

    response = admin_api.patch(f"{URL}{webhook.pk}/", {"models": ["iris"]}, format="json")

    assert response.status_code == 200
    webhook.refresh_from_db()
    assert (webhook.events, webhook.model_names) == (["alias.moved"], ["iris"])
    assert changes_in_trail() == [(webhook.name, "changed")]


def test_activation_forgets_why_the_target_was_disabled(
    admin_api: APIClient, make_webhook: MakeWebhook
) -> None:
    webhook = make_webhook(
        is_active=False, disabled_reason="gone", failures=9, paused_until=timezone.now()
    )

    response = admin_api.patch(f"{URL}{webhook.pk}/", {"is_active": True}, format="json")

    assert (response.json()["disabled_reason"], response.json()["failures"]) == ("", 0)
    webhook.refresh_from_db()
    assert webhook.paused_until is None


def test_secret_is_replaced(admin_api: APIClient, make_webhook: MakeWebhook) -> None:
    webhook = make_webhook()
    old = webhook.salt

    response = admin_api.post(f"{URL}{webhook.pk}/rotate/")

    webhook.refresh_from_db()
    assert response.json()["secret"] == signing.secret_of(webhook.salt) != signing.secret_of(old)
    assert webhook.valid_salts == [webhook.salt, old]
    assert changes_in_trail() == [(webhook.name, "rotated the secret")]


def test_test_message_is_listed_among_the_deliveries(
    admin_api: APIClient, make_webhook: MakeWebhook
) -> None:
    webhook = make_webhook()

    response = admin_api.post(f"{URL}{webhook.pk}/test/")

    assert response.status_code == 202
    assert response.json()["state"] == "pending"
    listed = admin_api.get(f"{URL}{webhook.pk}/deliveries/").json()
    assert listed == [response.json()]
    assert listed[0]["payload"]["type"] == "webhook.test"


@pytest.mark.parametrize("n", [1, 5])
def test_deliveries_are_filtered_and_paged_in_a_fixed_number_of_queries(
    admin_api: APIClient, make_webhook: MakeWebhook, django_assert_num_queries: Any, n: int
) -> None:
    webhook, other = make_webhook(), make_webhook()
    rows = [outbox.publish_test(webhook) for _ in range(n)]
    failed = outbox.publish_test(webhook)
    outbox.publish_test(other)
    WebhookDelivery.objects.filter(pk=failed.pk).update(state="failed", finished_at=timezone.now())
    path = f"{URL}{webhook.pk}/deliveries/"

    # The user, their permissions, the webhook and the rows.
    with django_assert_num_queries(5):
        pending = admin_api.get(f"{path}?state=pending&event=webhook.test").json()
    assert [row["id"] for row in pending] == [row.pk for row in reversed(rows)]
    first = admin_api.get(f"{path}?limit=1")
    assert [row["id"] for row in first.json()] == [failed.pk]
    assert first.json()[0]["due_at"] is None
    assert 'rel="next"' in first["Link"]
    assert admin_api.get(f"{path}?state=lost").status_code == 400


def test_delivery_is_sent_again(admin_api: APIClient, make_webhook: MakeWebhook) -> None:
    webhook, other = make_webhook(), make_webhook()
    row = outbox.publish_test(webhook)
    WebhookDelivery.objects.update(state="failed", finished_at=timezone.now())
    Webhook.objects.update(paused_until=timezone.now() + timedelta(hours=1))

    path = f"{URL}{webhook.pk}/deliveries/{row.pk}/resend/"
    response = admin_api.post(path)

    assert response.status_code == 202
    assert (response.json()["state"], response.json()["attempts"]) == ("pending", 0)
    taken = attempts.take_due()
    assert taken == row
    assert admin_api.post(path.replace(f"/{webhook.pk}/", f"/{other.pk}/")).status_code == 404


def test_deletion_removes_the_deliveries(admin_api: APIClient, make_webhook: MakeWebhook) -> None:
    webhook = make_webhook()
    outbox.publish_test(webhook)

    assert admin_api.delete(f"{URL}{webhook.pk}/").status_code == 204

    assert not WebhookDelivery.objects.exists()
    assert changes_in_trail() == [(webhook.name, "deleted")]
    for path in ("", "deliveries/"):
        assert admin_api.get(f"{URL}{webhook.pk}/{path}").status_code == 404


def every_request(api: APIClient, webhook: Webhook, row: WebhookDelivery) -> dict[str, int]:
    one = f"{URL}{webhook.pk}/"
    requests = {
        "list": api.get(URL),
        "create": create(api),
        "read": api.get(one),
        "change": api.patch(one, {"is_active": True}, format="json"),
        "rotate": api.post(f"{one}rotate/"),
        "test": api.post(f"{one}test/"),
        "deliveries": api.get(f"{one}deliveries/"),
        "resend": api.post(f"{one}deliveries/{row.pk}/resend/"),
        "delete": api.delete(one),
    }
    return {name: response.status_code for name, response in requests.items()}


PERMISSIONS = {
    "list": "view_webhook",
    "create": "add_webhook",
    "read": "view_webhook",
    "change": "change_webhook",
    "rotate": "change_webhook",
    "test": "change_webhook",
    "deliveries": "view_webhookdelivery",
    "resend": "change_webhookdelivery",
    "delete": "delete_webhook",
}


@pytest.mark.parametrize("codename", [None, *sorted(set(PERMISSIONS.values()))])
def test_each_request_needs_its_permission(
    user: User, make_webhook: MakeWebhook, codename: str | None
) -> None:
    webhook = make_webhook()
    row = outbox.publish_test(webhook)
    if codename is not None:
        user.user_permissions.add(Permission.objects.get(codename=codename))

    statuses = every_request(api_client(user), webhook, row)

    allowed = {name for name, status in statuses.items() if status < 300}
    assert allowed == {name for name, needed in PERMISSIONS.items() if needed == codename}
    assert {statuses[name] for name in statuses.keys() - allowed} <= {403}


def test_nothing_answers_without_a_token(make_webhook: MakeWebhook) -> None:
    webhook = make_webhook()

    statuses = every_request(APIClient(), webhook, outbox.publish_test(webhook))

    assert set(statuses.values()) == {401}
