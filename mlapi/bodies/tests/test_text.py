"""Byte order marks, and the media types of NDJSON."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from mlapi.bodies.tests.calls import CALLS, NDJSON, TEXT_CALLS, assert_answered, results_of, send
from registry.models import ModelVersion

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_NDJSON = (
    "application/ndjson",
    "application/jsonl",
    "application/jsonlines",
    "Application/X-NDJSON; charset=utf-8",
)


@pytest.mark.parametrize("name", TEXT_CALLS)
def test_a_byte_order_mark_is_ignored(client: APIClient, model: ModelVersion, name: str) -> None:
    call = CALLS[name]

    assert_answered(name, send(client, call._replace(body=BYTE_ORDER_MARK + call.body), model))


def test_a_byte_order_mark_within_a_body_is_refused(client: APIClient, model: ModelVersion) -> None:
    call = CALLS["ndjson"]
    lines = BYTE_ORDER_MARK + call.body + b"\n" + BYTE_ORDER_MARK + call.body

    *results, last = results_of(send(client, call._replace(body=lines), model))

    assert last["summary"]["succeeded"] == last["summary"]["rejected"] == 1
    assert "error" in results[1]


@pytest.mark.parametrize("content_type", OTHER_NDJSON)
def test_ndjson_has_several_names(
    client: APIClient, model: ModelVersion, content_type: str
) -> None:
    call = CALLS["ndjson"]._replace(content_type=content_type)

    assert_answered("ndjson", send(client, call, model))


@pytest.mark.parametrize("content_type", [NDJSON, *OTHER_NDJSON])
def test_streams_of_deactivated_users_are_refused_before_they_begin(
    client: APIClient, model: ModelVersion, user: User, content_type: str
) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)

    response = send(client, CALLS["ndjson"]._replace(content_type=content_type), model)

    assert response.status_code == 401
