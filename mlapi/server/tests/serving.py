"""Servers as processes, and what a client sees of them."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from registry.testing.processes import MANAGE

START_SECONDS = 60
STOP_SECONDS = 30
LOGIN = "/api/v1/auth/token/"


@contextmanager
def serving(
    database_url: str, port: int, *options: str, workers: int = 2, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, MANAGE, "serve", "--port", str(port), "--workers", str(workers), *options],
        env={**os.environ, "DATABASE_URL": database_url, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        # Its workers hold the pipe until they notice.
        process.communicate(timeout=2 * STOP_SECONDS)


def wait_until(condition: Callable[[], object], seconds: float = START_SECONDS) -> None:
    """Wait until the condition holds; a refused or cut connection means that it does not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    raise AssertionError("The condition did not become true")


def wait_until_alive(port: int) -> None:
    wait_until(lambda: get(port, "/health/live")[0] == 200)


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get_json(port: int, path: str) -> Any:
    return json.loads(get(port, path)[1])


def begin_login(port: int, body: bytes, length: int | None = None) -> socket.socket:
    """Send a login request with the beginning of its body: it stays in flight."""
    client = socket.create_connection(("127.0.0.1", port), timeout=STOP_SECONDS)
    head = (
        f"POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    )
    client.sendall(head.encode() + body)
    return client


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The process ids of a server's children."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return [int(pid) for pid in file.read().split()]


def worker_processes(health_port: int) -> list[int]:
    """The process ids of the ready workers, as the health port tells them."""
    workers = get_json(health_port, "/health/live")["workers"]
    return [worker["pid"] for worker in workers if worker["state"] == "ready"]
