"""Clients that hold connections: `python -m benchmarks.traffic.slow_clients PORT --count N`.

Each connects again when the server closes its connection. They run in a process of their own, so
that they take neither descriptors nor time from the callers whose responses are measured.
"""

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Literal

from benchmarks.harness.environments import PROJECT

Behavior = Literal["drip", "idle", "headers"]
BEHAVIORS: tuple[Behavior, ...] = ("drip", "idle", "headers")
BODY_BYTES = 1000
BYTE_SECONDS = 2.0
CONNECT_SECONDS = 1.0
PATHS = ("/api/v1/auth/token/", "/api/v1/predictions/", "/api/v1/predictions/batch/")


class SlowClient:
    """One connection: `drip` sends a body and `headers` its head byte by byte, `idle` nothing."""

    def __init__(self, port: int, behavior: Behavior, path: str, token: str) -> None:
        self._port, self._behavior = port, behavior
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        if token:
            head += f"Authorization: Bearer {token}\r\n"
        self._head = f"{head}Content-Length: {BODY_BYTES}\r\n\r\n".encode()
        self._socket: socket.socket | None = None
        self._position = 0
        self.connections = 0

    def proceed(self) -> None:
        """Connect if there is no connection, else send a byte and see whether it still exists."""
        try:
            if self._socket is None:
                self._connect()
            elif self._is_closed(self._socket):
                self.close()
            elif self._behavior != "idle":
                self._socket.send(self._next_byte())
        except OSError:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), CONNECT_SECONDS)
        self._socket.setblocking(False)
        self._position = 0
        self.connections += 1
        if self._behavior == "drip":
            self._socket.send(self._head)

    def _next_byte(self) -> bytes:
        if self._behavior == "drip":
            return b" "
        self._position += 1
        # The last bytes, which end the head, are never sent.
        return self._head[: len(self._head) - 4][self._position % 100 :][:1]

    @staticmethod
    def _is_closed(connection: socket.socket) -> bool:
        try:
            return not connection.recv(65536)
        except BlockingIOError:
            return False


@contextlib.contextmanager
def slow_clients(
    port: int, *, count: int, behavior: Behavior, token: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """`count` slow clients in a process of their own, while the `with` block runs."""
    command = [sys.executable, "-m", "benchmarks.traffic.slow_clients", str(port)]
    command += ["--count", str(count), "--behavior", behavior, "--token", token]
    process = subprocess.Popen(command, cwd=PROJECT, text=True)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def main(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    clients = [
        SlowClient(arguments.port, arguments.behavior, PATHS[i % len(PATHS)], arguments.token)
        for i in range(arguments.count)
    ]
    while True:
        for client in clients:
            client.proceed()
        time.sleep(BYTE_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--behavior", choices=BEHAVIORS, default="drip")
    parser.add_argument("--token", default="")
    main(parser.parse_args())
