"""The production server as a process: it starts, responds and always stops."""

import http.client
import os
import signal
import time
from pathlib import Path

import pytest

from mlapi.server import worker
from mlapi.server.tests.serving import (
    LOGIN,
    STOP_SECONDS,
    begin_login,
    get,
    serving,
    wait_until_alive,
    workers_of,
)
from registry.testing.processes import free_port

pytestmark = pytest.mark.slow
BODY = b'{"username": "nobody", "password": "wrong"}'


def test_stop_completes_the_request_in_flight(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)
        client = begin_login(port, BODY[:10], len(BODY))
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
        process.wait(worker.STOP_SECONDS + STOP_SECONDS)


def test_workers_end_when_their_parent_is_killed(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port) as process:
        wait_until_alive(port)

        process.kill()
        process.wait(STOP_SECONDS)

        # The pipe closes when the last process that holds it has ended.
        assert process.communicate(timeout=STOP_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupt_and_closed_terminal_stop_the_server(
    database_url: str, number: signal.Signals
) -> None:
    port = free_port()
    # The tests themselves may run under nohup, and the server would inherit that.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with serving(database_url, port) as process:
            wait_until_alive(port)

            process.send_signal(number)

            assert process.wait(STOP_SECONDS) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_server_that_ignores_a_closed_terminal_goes_on(database_url: str) -> None:
    port = free_port()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(database_url, port, workers=1) as process:
            wait_until_alive(port)
            # As a terminal does: to the whole group.
            for pid in (process.pid, *workers_of(process)):
                os.kill(pid, signal.SIGHUP)
            time.sleep(1)

            assert get(port, "/health/live")[0] == 200
            assert process.poll() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_folder_of_a_killed_server_is_removed_at_the_next_start(
    database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    with serving(database_url, port, TMPDIR=str(tmp_path)) as process:
        wait_until_alive(port)
        process.kill()
        process.communicate(timeout=STOP_SECONDS)
    (abandoned,) = tmp_path.glob("mlapi-run-*")
    # Younger ones may belong to a server that is just starting.
    os.utime(abandoned, (0, 0))

    with serving(database_url, port, TMPDIR=str(tmp_path)):
        wait_until_alive(port)

        assert not abandoned.exists()
        assert list(tmp_path.glob("mlapi-run-*"))


def test_metrics_cover_all_workers_in_a_temporary_folder(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(database_url, port, METRICS_TOKEN="scraper", TMPDIR=str(tmp_path)) as process:
        wait_until_alive(port)
        for _ in range(20):
            get(port, "/health/live")

        _, exposition = get(port, "/metrics", Authorization="Bearer scraper")

        count = 'mlapi_requests_total{method="GET",route="/health/live/",status="200"} 21.0'
        assert count in exposition.decode()
        assert list(tmp_path.glob("mlapi-run-*"))
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
        assert not list(tmp_path.glob("mlapi-run-*"))


def test_chunked_body_is_read_if_its_format_shows_the_end(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port, workers=1):
        wait_until_alive(port)
        for content_type, status in (("application/json", 401), ("text/csv", 411)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            headers = {"Content-Type": content_type}
            connection.request("POST", LOGIN, iter([BODY]), headers, encode_chunked=True)

            response = connection.getresponse()

            assert response.status == status
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
        affinities = [os.sched_getaffinity(pid) for pid in workers_of(process)]

    available = os.sched_getaffinity(0)
    assert {len(processors) for processors in affinities} == (sizes or {len(available)})
    assert set.union(*affinities) <= available
    if sizes and len(available) > 1:
        assert len({min(processors) for processors in affinities}) == 2
