import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.database_proxy import DatabaseProxy
from benchmarks.harness.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Path]:
    """A Unix socket that sends back what it receives."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_serve, args=[listener], daemon=True).start()
        yield path


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=[connection], daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)


def test_proxy_forwards_delays_holds_and_refuses(echo: Path) -> None:
    port = free_port()
    with DatabaseProxy(port, echo) as proxy, socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        one.sendall(b"first")
        assert one.recv(100) == b"first"

        proxy.tell("delay 0.5")
        _wait_until_obeyed()
        began_at = time.monotonic()
        one.sendall(b"second")
        assert one.recv(100) == b"second"
        assert time.monotonic() - began_at >= 0.4

        proxy.tell("hold")
        _wait_until_obeyed()
        one.sendall(b"third")
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.recv(100)
        one.settimeout(20)
        proxy.tell("pass")
        assert one.recv(100) == b"third"

        proxy.tell("refuse")
        assert _is_cut(one)


def _is_cut(connection: socket.socket) -> bool:
    try:
        return not connection.recv(100)
    except ConnectionError:
        return True


def _wait_until_obeyed() -> None:
    # Commands are not acknowledged.
    time.sleep(0.3)
