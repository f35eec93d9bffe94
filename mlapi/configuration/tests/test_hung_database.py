"""A PostgreSQL server that has stopped answering, as one that is stopped by a signal: connections
stay open, and nothing comes back on them.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection

from mlapi.configuration.databases import bound_requests
from mlapi.configuration.postgresql import base, bounded
from mlapi.configuration.postgresql.bounded import BoundedConnection
from registry.testing.databases import postgresql

ALIAS = "proxied"

pytestmark = pytest.mark.django_db(transaction=True)


class Proxy:
    """Forwards connections to the test database until it is frozen, and again once it is not."""

    def __init__(self, host: str, port: str) -> None:
        self._target = (host, port or "5432")
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self.thaw()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._target
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return server

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                self._flows.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    settings = connection.settings_dict
    # The folder of a Unix socket is in the options.
    host = settings["OPTIONS"].get("host") or settings["HOST"] or "localhost"
    proxy = Proxy(host, str(settings["PORT"]))
    yield proxy
    proxy.close()


@pytest.fixture
def connect(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Open a wrapper of a connection through the proxy, with a pool of its own."""
    monkeypatch.setattr(BoundedConnection, "statement_seconds", 1.0)
    monkeypatch.setattr(base, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(bounded, "CANCEL_SECONDS", 0.2)
    wrappers: list[Any] = []

    def connect() -> Any:
        wrapper: Any = connection.copy(ALIAS)
        wrapper.settings_dict |= {"HOST": "127.0.0.1", "PORT": proxy.port}
        pool = {**wrapper.settings_dict["OPTIONS"]["pool"], "min_size": 1, "timeout": 2}
        wrapper.settings_dict["OPTIONS"] |= {
            "pool": pool,
            "host": "127.0.0.1",
            "connect_timeout": 2,
        }
        wrapper.inc_thread_sharing()
        wrappers.append(wrapper)
        return wrapper

    yield connect
    for wrapper in wrappers:
        wrapper.close()
    wrappers[0].close_pool()


def ask(wrapper: Any) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 17")
        return cursor.fetchone()[0]


@postgresql
def test_all_callers_of_a_hung_server_are_answered_and_it_recovers(
    proxy: Proxy, connect: Any
) -> None:
    first = connect()
    assert ask(first) == 17
    proxy.freeze()

    def fail(wrapper: Any) -> bool:
        try:
            with pytest.raises(OperationalError):
                ask(wrapper)
            return True
        finally:
            wrapper.close()

    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(fail, [first, *(connect() for _ in range(7))]))
    assert time.monotonic() - started < 20

    proxy.thaw()
    last = connect()
    deadline = time.monotonic() + 20
    while True:
        try:
            assert ask(last) == 17
            break
        except OperationalError:
            last.close()
            assert time.monotonic() < deadline


@postgresql
def test_a_statement_that_waits_for_a_lock_is_stopped_on_the_server(connect: Any) -> None:
    wrapper = connect()
    with connection.cursor() as holder:
        holder.execute("SELECT pg_advisory_lock(20061)")
        with pytest.raises(OperationalError, match="did not answer within 1 s"):
            wrapper.cursor().execute("SELECT pg_advisory_lock(20061)")

        deadline = time.monotonic() + 10
        while True:
            holder.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
            if holder.fetchone() == (0,):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        holder.execute("SELECT pg_advisory_unlock(20061)")


@postgresql
def test_a_command_may_take_as_long_as_it_needs(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "statement_seconds", None)

    connect().cursor().execute("SELECT pg_sleep(1.5)")


@pytest.mark.parametrize(("engine", "expected"), [("postgresql", 20), ("sqlite", 10)])
def test_only_a_servers_statements_are_limited(
    engine: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "statement_seconds", None)
    database: dict[str, Any] = {"OPTIONS": {"timeout": 20}}
    if engine == "postgresql":
        database["OPTIONS"]["pool"] = {}

    bound_requests(database, statement_seconds=10)

    assert database["OPTIONS"]["timeout"] == expected
    assert BoundedConnection.statement_seconds == (10 if engine == "postgresql" else None)
