"""Health checks are answered before Django, and as Django answers them."""

import io
from typing import Any

import pytest

from mlapi import fast_lane, wsgi

PATHS = ["/health/live", "/health/live/", "/health/ready", "/v2/health/live", "/v2/health/ready/"]
# Dates, and what DRF and Django's handler add to a GET that nobody needs.
IGNORED_HEADERS = {"allow", "expires"}


def environ_of(path: str, **more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "HTTP_HOST": "10.1.2.3:8000",
        "HTTP_X_REQUEST_ID": "probe-1",
        **more,
    }


def through_django(environ: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    started: list[Any] = []

    def start_response(*arguments: object) -> Any:
        started.append(arguments)

    response = wsgi.django_application(environ, start_response)
    body = b"".join(response)
    response.close()
    return started[0][0], dict(started[0][1]), body


def comparable(headers: dict[str, str]) -> dict[str, str]:
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name not in IGNORED_HEADERS}


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_probes_get_equal_responses_both_ways(path: str) -> None:
    fast = fast_lane.respond_to_probe(environ_of(path))
    status, headers, body = through_django(environ_of(path))

    assert fast is not None
    assert (fast.status, fast.body) == (status, body)
    assert comparable(dict(fast.headers)) == comparable(headers)


@pytest.mark.django_db
def test_probes_that_fail_get_equal_responses_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlapi.health.monitor.state", lambda: {"database": "unavailable"})

    fast = fast_lane.respond_to_probe(environ_of("/health/ready"))

    assert fast is not None
    assert fast.status == "503 Service Unavailable"
    status, headers, body = through_django(environ_of("/health/ready"))
    assert (fast.status, fast.body) == (status, body)
    assert comparable(dict(fast.headers)) == comparable(headers)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/health/live", {"HTTP_ORIGIN": "http://localhost:3000"}),
        ("/health/live", {"QUERY_STRING": "a=b"}),
        ("/health/", {}),
        ("/metrics", {}),
        ("/nothing", {}),
    ],
)
def test_other_requests_are_left_to_django(path: str, more: dict[str, str]) -> None:
    assert fast_lane.respond_to_probe(environ_of(path, **more)) is None
