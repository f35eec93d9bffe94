"""The fast lane responds exactly as Django would have."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import product

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from rest_framework_simplejwt.tokens import AccessToken

from mlapi import fast_lane, wsgi
from mlapi.tests.fast_lane.comparison import differences
from mlapi.tests.fast_lane.requests import (
    FEATURES,
    INFER,
    PREDICT,
    ROW,
    Sent,
    as_json,
    infer_bodies,
    prediction_bodies,
)


def test_plain_requests_take_the_fast_lane(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    [predict] = as_json({"model_id": models["iris"], "input_data": ROW})
    [infer] = as_json(
        {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": FEATURES}]}
    )
    taken = [
        Sent(predict, headers=authorization),
        Sent(predict, PREDICT.rstrip("/"), headers=authorization),
        Sent(infer, INFER, headers=authorization),
        Sent(infer, "/v2/models/iris/versions/1/infer/", headers=authorization, content_type=None),
    ]

    responses = [fast_lane.respond(sent.environ()) for sent in taken]

    assert [response and response.status for response in responses] == [
        *["201 Created"] * 2,
        *["200 OK"] * 2,
    ]


def test_predictions_are_answered_alike_both_ways(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    bodies = prediction_bodies(models)
    requests = [Sent(body, headers=authorization) for body in bodies]
    requests += [Sent(body) for body in bodies[::4]]

    assert len(requests) > 90
    assert differences(requests) == []


def test_inferences_are_answered_alike_both_ways(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    paths = [INFER, "/v2/models/iris/versions/1/infer", "/v2/models/none/infer"]
    requests = [
        Sent(body, path, headers=authorization) for body, path in product(infer_bodies(), paths)
    ]

    assert len(requests) > 100
    assert differences(requests) == []


def test_headers_are_honoured_alike_both_ways(
    models: Mapping[str, int], authorization: dict[str, str], user: User
) -> None:
    expired = AccessToken.for_user(user)
    expired.set_exp(lifetime=-timedelta(seconds=1))
    token = authorization["Authorization"].removeprefix("Bearer ")
    predict, invalid = as_json(
        {"model": "iris", "input_data": ROW}, {"model": "iris", "input_data": {}}
    )
    [infer] = as_json(
        {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": FEATURES}]}
    )
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": f"bearer {token}"},
        {"Authorization": f"Bearer  {token}"},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {expired}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YWRhOmFkYQ=="},
        {**authorization, "Host": "evil.example"},
        {**authorization, "Host": "localhost:8000"},
        {**authorization, "Host": "local host"},
        {**authorization, "Origin": "http://localhost:3000"},
        {**authorization, "Origin": "http://elsewhere.example"},
        {**authorization, "Idempotency-Key": ""},
        {**authorization, "Idempotency-Key": "k" * 256},
        {**authorization, "Transfer-Encoding": "chunked"},
        {**authorization, "Content-Encoding": "gzip"},
        {**authorization, "Content-Encoding": "identity"},
        {**authorization, "Content-Length": "0"},
        {**authorization, "Content-Length": "x"},
        {**authorization, "Content-Length": ""},
        {**authorization, "Content-Length": "99999999"},
        {**authorization, "Content-Length": "10"},
        {**authorization, "X-Forwarded-For": "10.0.0.1"},
        {**authorization, "X-Forwarded-Proto": "https"},
        {**authorization, "Inference-Header-Content-Length": "10"},
        {**authorization, "Inference-Header-Content-Length": "x"},
        {**authorization, "Accept": "text/html"},
        {**authorization, "Cookie": f"sessionid=abc; csrftoken={'a' * 32}"},
        {**authorization, "X-HTTP-Method-Override": "GET"},
    ]
    requests = [
        *(Sent(body, headers=each) for body, each in product((predict, invalid), headers)),
        *(Sent(infer, INFER, headers=each) for each in headers),
        *(
            Sent(predict, headers=authorization, content_type=content_type)
            for content_type in (
                None,
                "",
                "application/json; charset=utf-8",
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/x-ndjson",
            )
        ),
        *(
            Sent(predict, path, headers=authorization)
            for path in (
                f"{PREDICT}?limit=1",
                f"{PREDICT}1/",
                f"{PREDICT}batch/",
                "/api/v1/nothing",
            )
        ),
        *(
            Sent(b"", path, headers=authorization, method=method)
            for path, method in product((PREDICT, INFER), ("PUT", "DELETE", "OPTIONS"))
        ),
    ]

    assert len(requests) > 90
    assert differences(requests) == []


def test_a_user_who_was_deactivated_is_refused_alike_both_ways(
    models: Mapping[str, int], authorization: dict[str, str], user: User
) -> None:
    bodies = as_json({"model": "iris", "input_data": ROW}, {"model": "iris", "input_data": {}})
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert differences([Sent(body, headers=authorization) for body in bodies]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"), "SECURE_HSTS_SECONDS": 60},
        {"SECURE_SSL_REDIRECT": True},
        {
            "SECURE_SSL_REDIRECT": True,
            "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
        },
        {"MAX_REQUEST_BYTES": 60, "DATA_UPLOAD_MAX_MEMORY_SIZE": 60},
        {"ALLOWED_HOSTS": ["ml.example.com"]},
    ],
    ids=["hsts", "redirect", "redirect-behind-proxy", "small-bodies", "other-host"],
)
def test_settings_are_honoured_alike_both_ways(
    models: Mapping[str, int],
    authorization: dict[str, str],
    settings: LazySettings,
    changes: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    fast_lane._common_headers.cache_clear()
    fast_lane._is_allowed_host.cache_clear()
    handler = WSGIHandler()
    handler.load_middleware()
    # What the fast lane leaves to Django goes to the same one.
    monkeypatch.setattr(wsgi, "django_application", handler)
    [body] = as_json({"model": "iris", "input_data": ROW})
    proto = {"X-Forwarded-Proto": "https"}
    requests = [Sent(body, headers=authorization), Sent(body, headers={**authorization, **proto})]

    assert differences(requests) == []
