"""Clients that are slow, idle or too many cost the service nothing."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from mlapi.server.tests.serving import (
    LOGIN,
    STOP_SECONDS,
    begin_login,
    get,
    serving,
    wait_until,
    wait_until_alive,
)
from registry.testing.processes import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="needs Linux's TCP_INFO"),
]
BODY_TIMEOUT_SECONDS = 4


@pytest.fixture(scope="module")
def port(database_url: str) -> Iterator[int]:
    """A worker with 16 threads and short limits."""
    limits = {
        "BODY_TIMEOUT_SECONDS": str(BODY_TIMEOUT_SECONDS),
        "IDLE_TIMEOUT_SECONDS": "3",
        "MAX_REQUEST_BYTES": "100000",
    }
    port = free_port()
    with serving(database_url, port, "--threads", "16", workers=1, **limits):
        wait_until_alive(port)
        yield port


def read_all(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection; closes it too."""
    received = b""
    with client:
        while data := client.recv(65536):
            received += data
    return received


@pytest.mark.parametrize("drips", [False, True])
def test_slow_body_is_answered_408_and_closed(port: int, drips: bool) -> None:
    client = begin_login(port, b"{", 1000)
    if drips:
        for _ in range(BODY_TIMEOUT_SECONDS):
            time.sleep(0.8)
            client.sendall(b" ")

    answer = read_all(client)

    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"arrived too slowly" in answer


def test_body_that_is_slow_but_fast_enough_is_read(port: int) -> None:
    body = b'{"username": "nobody", "password": "' + b"x" * 3000 + b'"}'
    client = begin_login(port, body[:20], len(body))
    for start in range(20, len(body), 500):
        time.sleep(0.7)
        client.sendall(body[start : start + 500])

    assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
    client.close()


def test_health_answers_while_slow_clients_hold_all_threads(port: int) -> None:
    clients = [begin_login(port, b"{", 1000) for _ in range(40)]
    slowest_seconds = 0.0
    for _ in range(20):
        began = time.monotonic()
        assert get(port, "/health/live")[0] == 200
        slowest_seconds = max(slowest_seconds, time.monotonic() - began)
        time.sleep(0.1)

    # The slow ones are closed, and others are served again.
    wait_until(lambda: get(port, "/api/v1/models/")[0] == 401, STOP_SECONDS)

    # Milliseconds; much more on a machine that runs other tests.
    assert slowest_seconds < 5
    for client in clients:
        client.close()


def test_requests_beyond_the_limit_are_refused_at_once(port: int) -> None:
    clients = [begin_login(port, b"{", 1000) for _ in range(40)]
    statuses = {read_all(client)[:12] for client in clients}

    # The first are waited for, the others refused.
    assert statuses == {b"HTTP/1.1 408", b"HTTP/1.1 503"}
    wait_until(lambda: get(port, "/api/v1/models/")[0] == 401, STOP_SECONDS)


def test_idle_connections_are_closed(port: int) -> None:
    unused = socket.create_connection(("127.0.0.1", port), timeout=STOP_SECONDS)
    used = socket.create_connection(("127.0.0.1", port), timeout=STOP_SECONDS)
    used.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert read_all(used).startswith(b"HTTP/1.1 200 ")
    assert read_all(unused) == b""


def test_body_over_the_limit_is_answered_413_to_a_client_that_sends_it_all(port: int) -> None:
    # urllib reads the answer when it has sent everything, as nginx does.
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{LOGIN}",
        data=b" " * 20_000_000,
        headers={"Content-Type": "application/json"},
    )

    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=STOP_SECONDS)  # noqa: S310

    with raised.value as answer:
        assert answer.code == 413


def test_idle_connections_do_not_exhaust_the_descriptors(database_url: str) -> None:
    port = free_port()
    # As with few descriptors: see `allowed_connections`.
    with serving(database_url, port, workers=1, MAX_CONNECTIONS="20"):
        wait_until_alive(port)
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]

        assert get(port, "/health/live")[0] == 200
        for client in idle:
            client.close()
