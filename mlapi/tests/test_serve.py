"""The production server, as a process: it starts, answers, and always stops."""

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

from mlapi.management.commands.serve import should_pin
from registry.testing.processes import MANAGE, free_port, manage

START_SECONDS = 30
STOP_SECONDS = 15
BODY = b'{"username": "nobody", "password": "wrong"}'


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database that no test's transaction hides from other processes."""
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
    """A login whose body is only half sent: a request in flight for as long as we like."""
    client = socket.create_connection(("127.0.0.1", port), timeout=STOP_SECONDS)
    head = (
        "POST /api/v1/auth/token/ HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    client.sendall(head.encode() + BODY[:10])
    return client


def test_stop_finishes_the_request_in_flight(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)
        client = begin_login(port)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        client.sendall(BODY[10:])

        answer = client.recv(65536)
        client.close()

        assert answer.startswith(b"HTTP/1.1 401 "), answer
        assert process.wait(STOP_SECONDS) == 0


@pytest.mark.parametrize("delay_seconds", [0.0, 0.7, 1.4])
def test_stop_during_start_ends(database_url: str, delay_seconds: float) -> None:
    with serving(database_url, free_port()) as process:
        time.sleep(delay_seconds)

        process.send_signal(signal.SIGTERM)

        process.wait(STOP_SECONDS)


def test_workers_end_with_a_parent_that_was_killed(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)

        process.kill()
        process.wait(STOP_SECONDS)

        # The pipe ends with the last process that holds it.
        assert process.communicate(timeout=STOP_SECONDS)


def test_interrupt_stops_the_server(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)

        process.send_signal(signal.SIGINT)

        assert process.wait(STOP_SECONDS) == 0


def test_metrics_join_all_workers_and_their_folder_goes(database_url: str, tmp_path: Path) -> None:
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


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no processors to choose from")
@pytest.mark.parametrize(("option", "sizes"), [("--pin", {1}), ("--no-pin", None)])
def test_pinned_workers_sit_on_a_processor_each(
    database_url: str, option: str, sizes: set[int] | None
) -> None:
    port = free_port()
    with serving(database_url, port, option) as process:
        wait_until_alive(port)
        folder = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        seats = [os.sched_getaffinity(int(pid)) for pid in folder.read_text().split()]

    everywhere = os.sched_getaffinity(0)
    assert {len(seat) for seat in seats} == (sizes or {len(everywhere)})
    assert set.union(*seats) <= everywhere
    if sizes and len(everywhere) > 1:
        assert len({min(seat) for seat in seats}) == 2


@pytest.mark.parametrize(
    ("asked", "workers", "pinned"),
    [(None, 10_000, True), (None, 0, False), (True, 1, True), (False, 10_000, False)],
)
def test_workers_are_pinned_where_there_are_enough_of_them(
    asked: bool | None, workers: int, pinned: bool
) -> None:
    assert should_pin(asked, workers) is pinned


def test_unmigrated_database_is_told_before_the_start(tmp_path: Path) -> None:
    result = manage("serve", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert result.returncode == 1
    assert "manage.py migrate" in result.stderr
