"""The production server as a process: it starts, responds and always stops."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlapi import server
from registry.testing.processes import MANAGE, free_port, manage

pytestmark = pytest.mark.slow
START_SECONDS = 30
STOP_SECONDS = 15
BODY = b'{"username": "nobody", "password": "wrong"}'


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database that other processes see: no transaction of a test hides its rows."""
    url = f"sqlite:///{tmp_path_factory.mktemp('serve') / 'db.sqlite3'}"
    assert manage("migrate", "-v0", DATABASE_URL=url).returncode == 0
    return url


@contextmanager
def serving(
    database_url: str, port: int, *options: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, MANAGE, "serve", "--port", str(port), "--workers", "2", *options],
        env={**os.environ, "DATABASE_URL": database_url, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_alive(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if get(port, "/health/live")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("The server did not start")


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def begin_login(port: int) -> socket.socket:
    """Send a login request without the end of its body: it stays in flight."""
    client = socket.create_connection(("127.0.0.1", port), timeout=STOP_SECONDS)
    head = (
        "POST /api/v1/auth/token/ HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    client.sendall(head.encode() + BODY[:10])
    return client


def test_stop_completes_the_request_in_flight(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)
        client = begin_login(port)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        client.sendall(BODY[10:])

        response = client.recv(65536)
        client.close()

        assert response.startswith(b"HTTP/1.1 401 "), response
        assert process.wait(STOP_SECONDS) == 0


@pytest.mark.parametrize("delay_seconds", [0.0, 0.7, 1.4])
def test_stop_during_start_ends_the_server(database_url: str, delay_seconds: float) -> None:
    with serving(database_url, free_port()) as process:
        time.sleep(delay_seconds)

        process.send_signal(signal.SIGTERM)

        # A worker that has just been forked may miss the signal, and is killed after the limit.
        process.wait(server.STOP_SECONDS + STOP_SECONDS)


def test_workers_end_when_their_parent_is_killed(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)

        process.kill()
        process.wait(STOP_SECONDS)

        # The pipe closes when the last process that holds it has ended.
        assert process.communicate(timeout=STOP_SECONDS)


def test_interrupt_stops_the_server(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)

        process.send_signal(signal.SIGINT)

        assert process.wait(STOP_SECONDS) == 0


def test_metrics_cover_all_workers_in_a_temporary_folder(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(database_url, port, METRICS_TOKEN="scraper", TMPDIR=str(tmp_path)) as process:
        wait_until_alive(port)
        for _ in range(20):
            get(port, "/health/live")

        _, exposition = get(port, "/metrics", Authorization="Bearer scraper")

        count = 'mlapi_requests_total{method="GET",route="/health/live/",status="200"} 21.0'
        assert count in exposition.decode()
        assert list(tmp_path.glob("mlapi-metrics-*"))
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
        assert not list(tmp_path.glob("mlapi-metrics-*"))


def test_chunked_body_answers_411(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port):
        wait_until_alive(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/api/v1/auth/token/", iter([BODY]), encode_chunked=True)

        response = connection.getresponse()

        assert response.status == 411
        assert response.headers["Content-Type"] == "application/problem+json"
        response.read()
        connection.close()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="requires CPU affinity")
@pytest.mark.parametrize(("option", "sizes"), [("--pin", {1}), ("--no-pin", None)])
def test_each_pinned_worker_runs_on_its_own_processor(
    database_url: str, option: str, sizes: set[int] | None
) -> None:
    port = free_port()
    with serving(database_url, port, option) as process:
        wait_until_alive(port)
        folder = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        affinities = [os.sched_getaffinity(int(pid)) for pid in folder.read_text().split()]

    available = os.sched_getaffinity(0)
    assert {len(processors) for processors in affinities} == (sizes or {len(available)})
    assert set.union(*affinities) <= available
    if sizes and len(available) > 1:
        assert len({min(processors) for processors in affinities}) == 2
