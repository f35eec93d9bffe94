"""Rate limits of keys and models, on every face."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from prometheus_client import REGISTRY
from rest_framework.test import APIClient

from mlapi import wsgi
from mlapi.tests.fast_lane.comparison import Application, django_alone
from mlapi.tests.fast_lane.faces import BOTH_WAYS, EVERY_FACE, ask, bearer
from predictions.authentication.api_keys import REMEMBERED
from predictions.models import Prediction
from registry.access.limits import LIMITER
from registry.access.policies import POLICIES
from registry.models import ApiKey, RegisteredModel
from registry.testing.clients import MakeKey, permit


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    REMEMBERED.clear()


@pytest.fixture(autouse=True)
def within_a_minute() -> None:
    """Limits are per minute of the clock: begin no test whose requests may lie in two of them."""
    if (second := time.time() % 60) > 50:
        time.sleep(60 - second)


def limit_model(limit: int | None) -> None:
    RegisteredModel.objects.filter(name="iris").update(rate_limit=limit)
    POLICIES.read()


@BOTH_WAYS
@EVERY_FACE
def test_a_key_beyond_its_limit_is_429(
    models: dict[str, int], user: User, make_key: MakeKey, application: Application, face: str
) -> None:
    _, value = make_key(user, rate_limit=2)
    _, other = make_key(user)

    refused = REGISTRY.get_sample_value("mlapi_rate_limited_total", {"kind": "key"}) or 0.0

    statuses = [ask(application, models, face, bearer(value))[0] for _ in range(3)]

    assert statuses[0] < 300 > statuses[1]
    assert statuses[2] == 429
    # Once, whether or not the fast lane has left it to Django.
    counted = REGISTRY.get_sample_value("mlapi_rate_limited_total", {"kind": "key"})
    assert counted == refused + 1
    assert ask(application, models, face, bearer(other))[0] < 300


@BOTH_WAYS
@EVERY_FACE
def test_a_model_beyond_its_limit_is_429_for_everybody(
    models: dict[str, int],
    user: User,
    authorization: dict[str, str],
    make_key: MakeKey,
    application: Application,
    face: str,
) -> None:
    limit_model(2)
    _, value = make_key(user)
    headers = {"Idempotency-Key": "other"} if face == "once" else {}

    statuses = [
        ask(application, models, face, bearer(value))[0],
        ask(application, models, "id", authorization)[0],
    ]
    rows = Prediction.objects.count()
    status, body = ask(application, models, "id", {**authorization, **headers})

    assert max(statuses) < 300
    assert (status, b"limit of 2 requests per minute" in body) == (429, True)
    assert Prediction.objects.count() == rows


@BOTH_WAYS
def test_a_body_that_the_fast_lane_leaves_to_django_counts_once(
    models: dict[str, int], user: User, make_key: MakeKey, application: Application
) -> None:
    _, value = make_key(user, rate_limit=2)

    statuses = [ask(application, models, "id", bearer(value), fits=False)[0] for _ in range(3)]

    assert statuses == [400, 400, 429]


def test_reads_and_metrics_count_for_a_key(
    models: dict[str, int], user: User, make_key: MakeKey
) -> None:
    _, value = make_key(permit(user, "view_prediction"), rate_limit=2)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {value}")

    statuses = [client.get(path).status_code for path in ("/v2", "/metrics")]
    refused = [client.get(path) for path in ("/v2", "/metrics", "/api/v1/aliases/")]

    assert statuses == [200, 200]
    assert [response.status_code for response in refused] == [429] * 3
    assert all(0 < int(response["Retry-After"]) <= 60 for response in refused)


def test_a_changed_limit_holds_once_it_is_read_again(
    models: dict[str, int], user: User, make_key: MakeKey
) -> None:
    key, value = make_key(user, rate_limit=1)
    assert ask(wsgi.application, models, "id", bearer(value))[0] == 201
    assert ask(wsgi.application, models, "id", bearer(value))[0] == 429

    ApiKey.objects.filter(pk=key.pk).update(rate_limit=2)
    REMEMBERED.read_again()
    assert ask(wsgi.application, models, "id", bearer(value))[0] == 201
    ApiKey.objects.filter(pk=key.pk).update(rate_limit=None)
    REMEMBERED.read_again()
    assert ask(wsgi.application, models, "id", bearer(value))[0] == 201


def test_without_limits_nothing_is_leased(
    models: dict[str, int], authorization: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("nothing is limited")

    monkeypatch.setattr(type(LIMITER), "take", fail)

    for application in (wsgi.application, django_alone):
        assert ask(application, models, "id", authorization)[0] == 201
