"""Requests in flight, without a server."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from mlapi import wsgi
from mlapi.server import in_flight as module
from mlapi.server.in_flight import BodyTooSlow, InFlight, RequestInFlight, answer_then_discard


def environ_of(body: bytes, length: int | None = None, **more: str) -> dict[str, Any]:
    return {
        "REMOTE_ADDR": "192.0.2.7",
        "CONTENT_LENGTH": str(len(body) if length is None else length),
        "wsgi.input": io.BytesIO(body),
        **more,
    }


def test_body_is_read_once_and_to_its_end() -> None:
    requests = InFlight()
    environ = environ_of(b"one\ntwo\nthree")
    request = requests.begin(environ)
    assert request.remaining_bytes == 13

    stream = environ["wsgi.input"]
    parts = [stream.readline(), stream.read(2), stream.read(), stream.read(), stream.readline()]

    assert parts == [b"one\n", b"tw", b"o\nthree", b"", b""]
    assert request.body_ended_at is not None
    assert environ["mlapi.arrived_at"] == request.began_at
    assert requests.requests() == [request]
    requests.end(request)
    requests.end(request)
    assert requests.requests() == []


def test_body_that_the_keeper_ended_is_too_slow_each_time_it_is_read() -> None:
    ended_by_client = RequestInFlight(environ_of(b"{", 10))
    cut_off = RequestInFlight(environ_of(b"{", 10))
    cut_off.is_cut_off = True
    complete = RequestInFlight(environ_of(b"{}"))
    complete.is_cut_off = True

    # The reader of this one sees that the body is too short.
    assert (ended_by_client.read(10), ended_by_client.read(10)) == (b"{", b"")
    for _ in range(2):
        with pytest.raises(BodyTooSlow):
            cut_off.read(10)
    assert (complete.read(10), complete.read(10)) == (b"{}", b"")


def test_rest_of_a_body_is_discarded_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    request = RequestInFlight(environ_of(b"x" * 200_000))
    too_long = RequestInFlight(environ_of(b"x" * 200_000))
    pieces = answer_then_discard(request, b"answer")

    assert next(pieces) == b"answer"
    assert request.remaining_bytes == 200_000
    assert list(pieces) == []
    assert request.remaining_bytes == 0
    monkeypatch.setattr(module, "DISCARD_BYTES", 100_000)
    assert list(answer_then_discard(too_long, b"answer")) == [b"answer"]
    assert too_long.remaining_bytes == 200_000


def test_chunked_body_is_read_and_discarded_without_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DISCARD_BYTES", 100_000)
    environ = environ_of(b"x" * 300_000, HTTP_TRANSFER_ENCODING="chunked") | {"CONTENT_LENGTH": ""}
    request = RequestInFlight(environ)

    assert len(request.read(150_000)) == 150_000
    request.discard()
    assert 0 < len(request.read(300_000)) < 60_000
    assert (request.read(1), request.remaining_bytes) == (b"", 0)


@pytest.fixture
def overloaded(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker that takes no request at all."""
    monkeypatch.setattr(wsgi.in_flight, "limit", 0)
    yield
    wsgi.in_flight.is_full.clear()


def call(path: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """The service's answer over WSGI."""
    started: list[Any] = []
    environ = environ_of(b"{}" if method == "POST" else b"") | {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(wsgi.application(environ, lambda *arguments: started.extend(arguments)))
    return started[0], dict(started[1]), body


@pytest.mark.parametrize("path", ["/api/v1/predictions/", "/v2/models/iris/infer", "/a"])
def test_request_beyond_the_limit_is_answered_503(overloaded: None, path: str) -> None:
    status, headers, body = call(path, "POST")

    assert status == "503 Service Unavailable"
    assert headers["Retry-After"] == "1"
    assert b"as many requests as it can" in body
    assert wsgi.in_flight.is_full.is_set()
    assert wsgi.in_flight.requests() == []


@pytest.mark.parametrize("path", ["/health/live", "/v2/health/live"])
def test_probes_are_answered_beyond_the_limit(overloaded: None, path: str) -> None:
    assert call(path)[0] == "200 OK"


def test_streamed_answer_is_in_flight_until_it_is_closed(client: APIClient) -> None:
    environ = environ_of(b"")
    request = wsgi.in_flight.begin(environ)
    closed: list[bool] = []
    answer = module.PendingAnswer([b"a", b"b"], lambda: closed.append(True))

    assert list(answer) == [b"a", b"b"]
    assert closed == []
    answer.close()
    wsgi.in_flight.end(request)
    assert closed == [True]
