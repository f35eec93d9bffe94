"""What is published, to which targets, and in which transaction."""

import json
from datetime import datetime
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from pytest_django import DjangoAssertNumQueries

from registry import services
from registry.access.accessor import Accessor
from registry.aliases import moves
from registry.aliases.approvals.requests import ask_to_set
from registry.aliases.recording import Attribution
from registry.models import WebhookDelivery
from registry.services import register_model
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion
from registry.webhooks import outbox
from registry.webhooks.events import (
    ALIAS_MOVED,
    APPROVAL_REQUESTED,
    TEST,
    VERSION_REGISTERED,
    Event,
    UnknownEvent,
)
from registry.webhooks.tests.conftest import MakeWebhook

pytestmark = pytest.mark.django_db


def publish(model: str = "iris", event: Event = VERSION_REGISTERED) -> None:
    with transaction.atomic():
        outbox.publish(event, model, {"version": "1"})


def published() -> list[tuple[str, str]]:
    return list(WebhookDelivery.objects.order_by("id").values_list("webhook__name", "event"))


def data_of(event: Event) -> list[dict[str, object]]:
    rows = WebhookDelivery.objects.filter(event=event.name).order_by("id")
    return [row.payload["data"] for row in rows]


def test_each_target_that_wants_the_event_gets_a_row_with_the_same_message(
    make_webhook: MakeWebhook,
) -> None:
    make_webhook(name="all")
    make_webhook(name="this event", events=["version.registered"])
    make_webhook(name="this model", model_names=["iris", "wine"])
    make_webhook(name="another event", events=["alias.moved"])
    make_webhook(name="another model", model_names=["wine"])
    make_webhook(name="inactive", is_active=False)

    publish()

    assert [name for name, _ in published()] == ["all", "this event", "this model"]
    first, second, third = WebhookDelivery.objects.all()
    assert first.payload == second.payload == third.payload
    assert first.payload["id"] == str(first.event_id) == str(third.event_id)
    assert first.payload["type"] == "version.registered"
    assert first.payload["payload_version"] == 1
    assert first.payload["data"] == {"model": "iris", "version": "1"}
    assert datetime.fromisoformat(first.payload["timestamp"]).utcoffset() is not None
    assert (first.state, first.attempts) == ("pending", 0)


def test_event_costs_one_query_and_one_insert(
    make_webhook: MakeWebhook, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with transaction.atomic(), django_assert_num_queries(1):
        outbox.publish(VERSION_REGISTERED, "iris", {})
    for _ in range(3):
        make_webhook()

    with transaction.atomic(), django_assert_num_queries(2):
        outbox.publish(VERSION_REGISTERED, "iris", {})
    assert len(published()) == 3


def test_event_is_rolled_back_with_its_change(make_webhook: MakeWebhook) -> None:
    make_webhook()

    with transaction.atomic():
        outbox.publish(VERSION_REGISTERED, "iris", {})
        transaction.set_rollback(True)

    assert published() == []


@pytest.mark.django_db(transaction=True)
def test_event_outside_a_transaction_is_an_error() -> None:
    with pytest.raises(outbox.OutsideTransaction, match=r"version\.registered"):
        outbox.publish(VERSION_REGISTERED, "iris", {})


def test_event_that_nobody_declared_is_an_error() -> None:
    with pytest.raises(UnknownEvent), transaction.atomic():
        outbox.publish(Event("models.vanished", ""), "iris", {})


def test_test_message_goes_to_one_target_whatever_it_wants(make_webhook: MakeWebhook) -> None:
    make_webhook()
    webhook = make_webhook(events=["alias.moved"])

    outbox.publish_test(webhook)

    assert published() == [(webhook.name, TEST.name)]


def test_registration_and_the_first_champion_are_published(
    make_webhook: MakeWebhook, model_path: None, iris_artifact: Artifact, user: User
) -> None:
    make_webhook()

    version = register_model(
        name="iris",
        upload=services.Upload([iris_artifact.content]),
        attribution=Attribution(user=user),
    )

    assert [event for _, event in published()] == ["version.registered", "alias.moved"]
    assert data_of(VERSION_REGISTERED) == [
        {
            "model": "iris",
            "model_id": version.pk,
            "version": "1",
            "framework": "sklearn",
            "sha256": version.sha256,
            "size_bytes": version.size_bytes,
            "user_id": user.pk,
        }
    ]


def test_version_that_gets_its_file_later_is_published_twice(
    make_webhook: MakeWebhook, model_path: None, iris_artifact: Artifact
) -> None:
    make_webhook(events=["version.registered", "version.artifact_attached"])
    version = register_model(name="iris", framework="sklearn")
    assert data_of(VERSION_REGISTERED)[0]["sha256"] is None

    upload = services.Upload([iris_artifact.content])
    services.attach_artifact(model_id=version.pk, upload=upload)

    assert [event for _, event in published()] == [
        "version.registered",
        "version.artifact_attached",
    ]


def test_request_for_approval_is_published_without_its_reason(
    make_webhook: MakeWebhook, make_version: MakeVersion, iris_artifact: Artifact, user: User
) -> None:
    make_webhook()
    make_version("iris", iris_artifact)

    request = ask_to_set(
        name="iris",
        alias="live",
        move={"version": "1"},
        reason="Customer Jane Doe complained",
        accessor=Accessor(user, request_id="request-1"),
    )

    assert data_of(APPROVAL_REQUESTED) == [
        {
            "model": "iris",
            "alias": "live",
            "approval_id": request.pk,
            "kind": "set",
            "version": "1",
            "expires_at": request.expires_at.isoformat().replace("+00:00", "Z"),
            "user_id": user.pk,
            "request_id": "request-1",
        }
    ]


def test_every_move_of_an_alias_is_published_without_its_reason(
    make_webhook: MakeWebhook, make_version: MakeVersion, iris_artifact: Artifact, user: User
) -> None:
    make_webhook(events=["alias.moved"])
    first = make_version("iris", iris_artifact)
    second = make_version("iris", iris_artifact, version="2")
    attribution = Attribution("Customer Jane Doe complained", user, "request-1")
    set_alias = partial(moves.set_alias, name="iris", alias="live", attribution=attribution)

    set_alias(version="1")
    set_alias(version="2", shadows=["1"])
    moves.rollback(name="iris", alias="live", attribution=attribution)
    moves.remove_alias(name="iris", alias="live", attribution=attribution)

    data = data_of(ALIAS_MOVED)
    one = {"model_id": first.pk, "version": "1"}
    two = {"model_id": second.pk, "version": "2"}
    assert [item["action"] for item in data] == ["set", "set", "rolled_back", "removed"]
    assert [item["number"] for item in data] == [1, 2, 3, 4]
    assert [(item["from"], item["to"]) for item in data] == [
        (None, one),
        (one, two),
        (two, one),
        (one, None),
    ]
    assert data[1]["shadows"] == [one]
    assert {item["user_id"] for item in data} == {user.pk}
    assert "Jane" not in json.dumps(data)
    assert user.username not in json.dumps(data)
