"""The fast lane responds exactly as Django would."""

import io
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.urls import set_script_prefix
from rest_framework_simplejwt.tokens import AccessToken

from mlapi import fast_lane, wsgi
from mlapi.fast_lane import requests as fast_lane_requests
from mlapi.fast_lane import responses
from mlapi.proxies import prefixes
from mlapi.tests.fast_lane.comparison import differences
from mlapi.tests.fast_lane.requests import (
    FEATURES,
    INFER,
    PREDICT,
    ROW,
    ClientRequest,
    as_json,
    infer_bodies,
    prediction_bodies,
)
from registry.loading import quarantine


def test_plain_requests_take_the_fast_lane(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    [predict] = as_json({"model_id": models["iris"], "input_data": ROW})
    [infer] = as_json(
        {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": FEATURES}]}
    )
    requests = [
        ClientRequest(predict, headers=authorization),
        ClientRequest(predict, PREDICT.rstrip("/"), headers=authorization),
        ClientRequest(infer, INFER, headers=authorization),
        ClientRequest(
            infer, "/v2/models/iris/versions/1/infer/", headers=authorization, content_type=None
        ),
    ]

    responses = [fast_lane.respond(request.environ()) for request in requests]

    assert [response and response.status for response in responses] == [
        *["201 Created"] * 2,
        *["200 OK"] * 2,
    ]


def test_a_body_that_cannot_be_read_is_left_to_django(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    class BrokenConnection(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the client is gone")

    environ = ClientRequest(b"{}", headers=authorization).environ()
    environ["wsgi.input"] = BrokenConnection()
    started: list[str] = []

    assert fast_lane.respond(environ) is None
    body = b"".join(wsgi.application(environ, lambda status, headers: started.append(status)))

    assert started == ["400 Bad Request"]
    assert b"could not be read" in body


def test_prediction_requests_get_equal_responses_both_ways(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    bodies = prediction_bodies(models)
    requests = [ClientRequest(body, headers=authorization) for body in bodies]
    requests += [ClientRequest(body) for body in bodies[::4]]

    assert len(requests) > 90
    assert differences(requests) == []


def test_infer_requests_get_equal_responses_both_ways(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    paths = [INFER, "/v2/models/iris/versions/1/infer", "/v2/models/none/infer"]
    requests = [
        ClientRequest(body, path, headers=authorization)
        for body, path in product(infer_bodies(), paths)
    ]

    assert len(requests) > 100
    assert differences(requests) == []


CONTENT_TYPES = (
    None,
    "",
    "application/json; charset=utf-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/x-ndjson",
)
OTHER_PATHS = (f"{PREDICT}?limit=1", f"{PREDICT}1/", f"{PREDICT}batch/", "/api/v1/nothing")


OTHER_HEADERS = (
    {"X-HTTP-Method-Override": "GET"},
    {"X-Request-Timeout-Ms": "60000"},
    {"X-Request-Timeout-Ms": "0"},
    {"X-Envoy-Expected-Rq-Timeout-Ms": "60000"},
    {"X-Envoy-Expected-Rq-Timeout-Ms": "soon"},
)


def header_variants(
    authorization: dict[str, str], expired_token: AccessToken
) -> list[dict[str, str]]:
    """Headers with and without authorization, and each header that the API knows."""
    token = authorization["Authorization"].removeprefix("Bearer ")
    return [
        {},
        {"Authorization": f"bearer {token}"},
        {"Authorization": f"BEARER {token}"},
        {"Authorization": f"Bearer\t{token}"},
        {"Authorization": f"Bearer  {token}"},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {expired_token}"},
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
        {**authorization, "Content-Encoding": "br"},
        {**authorization, "Content-Length": "0"},
        {**authorization, "Content-Length": "x"},
        {**authorization, "Content-Length": ""},
        {**authorization, "Content-Length": "99999999"},
        {**authorization, "Content-Length": "10"},
        {**authorization, "Content-Length": "5000"},
        {**authorization, "X-Forwarded-For": "10.0.0.1"},
        {**authorization, "X-Forwarded-Proto": "https"},
        {**authorization, "Inference-Header-Content-Length": "10"},
        {**authorization, "Inference-Header-Content-Length": "x"},
        {**authorization, "Accept": "text/html"},
        {**authorization, "Cookie": f"sessionid=abc; csrftoken={'a' * 32}"},
        *({**authorization, **header} for header in OTHER_HEADERS),
    ]


def test_headers_have_equal_effects_both_ways(
    models: Mapping[str, int], authorization: dict[str, str], user: User, settings: LazySettings
) -> None:
    expired = AccessToken.for_user(user)
    expired.set_exp(lifetime=-timedelta(seconds=settings.TOKEN_LEEWAY_SECONDS + 1))
    headers = header_variants(authorization, expired)
    predict, invalid = as_json(
        {"model": "iris", "input_data": ROW}, {"model": "iris", "input_data": {}}
    )
    [infer] = as_json(
        {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": FEATURES}]}
    )
    requests = [
        *(
            ClientRequest(body, headers=chosen)
            for body, chosen in product((predict, invalid), headers)
        ),
        *(ClientRequest(infer, INFER, headers=chosen) for chosen in headers),
        *(
            ClientRequest(predict, headers=authorization, content_type=content_type)
            for content_type in CONTENT_TYPES
        ),
        *(ClientRequest(predict, path, headers=authorization) for path in OTHER_PATHS),
        *(
            ClientRequest(b"", path, headers=authorization, method=method)
            for path, method in product((PREDICT, INFER), ("PUT", "DELETE", "OPTIONS"))
        ),
    ]

    assert len(requests) > 90
    assert differences(requests) == []


def test_a_version_in_quarantine_gets_equal_responses_both_ways(
    models: Mapping[str, int], authorization: dict[str, str]
) -> None:
    for _ in range(quarantine.MAX_CRASHES):
        quarantine.count_crash(models["iris"], "died of SIGSEGV")
    [body] = as_json({"model": "iris", "input_data": ROW})

    assert differences([ClientRequest(body, headers=authorization)]) == []


def test_a_deactivated_user_gets_equal_responses_both_ways(
    models: Mapping[str, int], authorization: dict[str, str], user: User
) -> None:
    bodies = as_json({"model": "iris", "input_data": ROW}, {"model": "iris", "input_data": {}})
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert differences([ClientRequest(body, headers=authorization) for body in bodies]) == []


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
        # So short that every answer is late.
        {"PREDICTION_TIMEOUT_SECONDS": 1e-9},
    ],
    ids=["hsts", "redirect", "redirect-behind-proxy", "small-bodies", "other-host", "late"],
)
def test_settings_have_equal_effects_both_ways(
    models: Mapping[str, int],
    authorization: dict[str, str],
    settings: LazySettings,
    changes: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    responses._common_headers.cache_clear()
    fast_lane_requests._is_allowed_host.cache_clear()
    handler = WSGIHandler()
    handler.load_middleware()
    # Requests that the fast lane hands over must reach a handler with the same settings.
    monkeypatch.setattr(wsgi, "django_application", handler)
    [body] = as_json({"model": "iris", "input_data": ROW})
    forwarded = {"X-Forwarded-Proto": "https"}
    requests = [
        ClientRequest(body, headers=authorization),
        ClientRequest(body, headers={**authorization, **forwarded}),
    ]

    assert differences(requests) == []


def test_requests_below_a_prefix_get_equal_responses_both_ways(
    models: Mapping[str, int], authorization: dict[str, str], settings: LazySettings
) -> None:
    settings.URL_PREFIX = "/ml"
    [predict] = as_json({"model": "iris", "input_data": ROW})
    requests = [
        ClientRequest(body, root + path, headers=authorization)
        for body, path, root in product((predict, b"{"), (PREDICT, INFER), ("", "/ml", "/mlx"))
    ]

    assert fast_lane.respond(requests[0].environ()) is not None
    assert differences(requests, django=mounted_django) == []
    set_script_prefix("/")


def mounted_django(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    prefixes.mount(environ)
    return wsgi.django_application(environ, start_response)
