"""The parent replaces workers however they end, and never shares its port."""

import os
import signal
import socket
import time
from functools import partial

import pytest

from mlapi.server import supervisor
from mlapi.server.supervisor import SignalSafeEvent
from mlapi.server.tests.serving import (
    STOP_SECONDS,
    get,
    get_json,
    serving,
    wait_until,
    wait_until_alive,
    worker_processes,
)
from registry.testing.processes import free_port, manage


def has_replaced(health_port: int, pid: int) -> bool:
    return worker_processes(health_port) not in ([], [pid])


@pytest.mark.slow
def test_worker_that_dies_again_and_again_is_replaced_each_time(database_url: str) -> None:
    port, health_port = free_port(), free_port()
    options = ["--health-port", str(health_port)]
    with serving(database_url, port, *options, workers=1) as process:
        for _ in range(3):
            wait_until(lambda: worker_processes(health_port))
            (pid,) = worker_processes(health_port)
            os.kill(pid, signal.SIGSEGV)
            wait_until(partial(has_replaced, health_port, pid))

        wait_until_alive(port)
        process.terminate()
        _, errors = process.communicate(timeout=STOP_SECONDS)

    assert process.returncode == 0
    assert errors.count(b"was ended by SIGSEGV") == 3


@pytest.mark.slow
def test_worker_that_hangs_is_killed_while_the_health_port_answers(database_url: str) -> None:
    port, health_port = free_port(), free_port()
    options = ["--health-port", str(health_port)]
    with serving(database_url, port, *options, workers=1, WORKER_TIMEOUT_SECONDS="7") as process:
        wait_until(lambda: worker_processes(health_port))
        (pid,) = worker_processes(health_port)

        # As if a native call kept the interpreter lock.
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: get(health_port, "/health/ready")[0] == 503)
        answer = get_json(health_port, "/health/ready")
        wait_until(partial(has_replaced, health_port, pid))

        assert answer["workers"][0]["state"] in ("silent", "ended", "starting")
        assert get(port, "/health/live")[0] == 200
        process.terminate()
        _, errors = process.communicate(timeout=STOP_SECONDS)
    assert b"gave no sign of life" in errors


@pytest.mark.slow
def test_health_port_answers_what_probes_ask(database_url: str) -> None:
    port, health_port = free_port(), free_port()
    with serving(database_url, port, "--health-port", str(health_port)):
        wait_until(lambda: len(worker_processes(health_port)) == 2)

        assert get(health_port, "/health/live/")[0] == 200
        assert get_json(health_port, "/v2/health/ready") == {"ready": True}
        ready = get_json(health_port, "/health/ready/?verbose=1")
        assert ready["status"] == "ready"
        assert [worker["checks"]["database"] for worker in ready["workers"]] == ["ok", "ok"]
        assert get(health_port, "/admin/")[0] == 404
        # A client that sends nothing holds nobody up.
        with socket.create_connection(("127.0.0.1", health_port)):
            assert get(health_port, "/health/live")[0] == 200


@pytest.mark.slow
def test_second_server_on_a_port_is_refused(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port, workers=1):
        wait_until_alive(port)

        second = manage("serve", "--port", str(port), DATABASE_URL=database_url)
        quickstart = manage("quickstart", "--port", str(port), DATABASE_URL=database_url)

    for refused in (second, quickstart):
        assert refused.returncode == 1
        assert f"Port {port} of 127.0.0.1 is in use" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_unknown_host_is_one_line(database_url: str) -> None:
    refused = manage("serve", "--host", "nowhere.invalid", DATABASE_URL=database_url)

    assert refused.returncode == 1
    assert "Unknown host 'nowhere.invalid'" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_host_may_be_a_name(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port, "--host", "localhost", workers=1):
        wait_until_alive(port)


def test_pauses_between_restarts_grow_to_a_limit() -> None:
    pauses = [supervisor._pause_seconds(failures) for failures in range(1, 9)]

    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [(-11, "was ended by SIGSEGV"), (-200, "was ended by signal 200"), (1, "ended with status 1")],
)
def test_end_of_a_worker_is_described(exit_code: int, text: str) -> None:
    assert supervisor._describe_end(exit_code) == text


def test_signal_handler_may_set_the_event_while_its_thread_waits_and_clears() -> None:
    # With threading.Event, the handler soon waits for the lock that its own thread holds.
    event = SignalSafeEvent()
    signals = 0

    def handle(*_: object) -> None:
        nonlocal signals
        signals += 1
        event.set()

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        while signals < 2000:
            event.wait(0.001)
            event.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_event_that_was_set_ends_one_wait_and_a_cleared_one_none() -> None:
    event = SignalSafeEvent()
    event.set()
    began_at = time.monotonic()
    event.wait(60)
    assert time.monotonic() - began_at < 60

    event.set()
    event.set()
    event.clear()
    began_at = time.monotonic()
    event.wait(0.05)
    assert time.monotonic() - began_at >= 0.05
