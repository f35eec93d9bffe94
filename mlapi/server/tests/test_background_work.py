"""`manage.py work` as a process, and beside a server."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlapi.server.tests.serving import (
    STOP_SECONDS,
    get,
    serving,
    wait_until,
    wait_until_alive,
    workers_of,
)
from registry.testing.processes import MANAGE, free_port


def work(database_url: str, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, MANAGE, "work", *options],
        env={**os.environ, "DATABASE_URL": database_url, "LOG_LEVEL": "INFO"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def metrics(port: int) -> bytes:
    return get(port, "/metrics", Authorization="Bearer for-tests")[1]


def work_process_of(server: "subprocess.Popen[bytes]") -> int | None:
    for pid in workers_of(server):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"work" in command:
            return pid
    return None


@pytest.mark.slow
def test_worker_serves_its_metrics_and_ends_cleanly_on_sigterm(database_url: str) -> None:
    port = free_port()
    process = work(database_url, "--metrics-port", str(port))
    try:
        wait_until(lambda: b"mlapi_work_pending" in get(port, "/metrics")[1])
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 0, errors
    assert "items done, 0 failed" in output
    assert "does background work: webhook" in errors


@pytest.mark.slow
def test_worker_ends_with_its_parent(database_url: str) -> None:
    # Its parent is another process than this one, as if that had been killed.
    process = work(database_url, "--parent", "1")

    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors


@pytest.mark.slow
def test_server_keeps_a_worker_running_and_takes_it_along(database_url: str) -> None:
    port = free_port()
    environment = {"LOG_LEVEL": "ERROR", "METRICS_TOKEN": "for-tests"}
    with serving(database_url, port, "--with-worker", workers=1, **environment) as server:
        wait_until_alive(port)
        wait_until(lambda: b'mlapi_work_pending{kind="webhooks"} 0.0' in metrics(port))
        first = work_process_of(server)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: work_process_of(server) not in (None, first))
        second = work_process_of(server)
        server.terminate()
        _, errors = server.communicate(timeout=2 * STOP_SECONDS)

    assert server.returncode == 0
    assert f"background work ({first}) ended with status -9".encode() in errors
    assert not Path(f"/proc/{second}").exists()


@pytest.mark.slow
def test_server_that_is_killed_leaves_no_worker_behind(database_url: str) -> None:
    port = free_port()
    with serving(database_url, port, "--with-worker", workers=1) as server:
        wait_until_alive(port)
        wait_until(lambda: work_process_of(server))
        pid = work_process_of(server)
        server.kill()
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
