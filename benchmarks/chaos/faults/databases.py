"""The database hangs, is slow, refuses, restarts, or cuts its connections."""

import os
import signal
import sqlite3

from benchmarks.chaos.database_proxy import DatabaseProxy
from benchmarks.chaos.faults.base import Effects, Fault, NotPossible
from benchmarks.harness.postgresql import PostgreSQL

CUT_PERIOD_SECONDS = 1.0
HANG_SECONDS = 20.0
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class PostgreSQLFault(Fault):
    group = "database"

    def prepare(self) -> None:
        if self.system.server is None:
            raise NotPossible("the database is SQLite")

    @property
    def server(self) -> PostgreSQL:
        assert self.system.server is not None
        return self.system.server

    @property
    def proxy(self) -> DatabaseProxy:
        assert self.system.proxy is not None
        return self.system.proxy


class Stopped(PostgreSQLFault):
    name = "PostgreSQL stopped (SIGSTOP)"
    min_seconds = HANG_SECONDS
    effects = Effects(is_unready=True)

    def begin(self) -> None:
        self._pids = self.server.pids()
        self._signal(signal.SIGSTOP)

    def end(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


class Restarted(PostgreSQLFault):
    name = "PostgreSQL restarted (immediate)"

    def begin(self) -> None:
        self.server.control("restart", "immediate")


class ReadOnly(PostgreSQLFault):
    name = "PostgreSQL read-only"
    effects = Effects(is_unready=True)

    def begin(self) -> None:
        self.server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        self.server.execute("SELECT pg_reload_conf()")

    def end(self) -> None:
        self.server.execute("ALTER SYSTEM RESET default_transaction_read_only")
        self.server.execute("SELECT pg_reload_conf()")


class ConnectionsCut(PostgreSQLFault):
    """All connections are terminated by the server, once a second."""

    name = "connections cut (pg_terminate_backend)"
    _n_cuts = 0

    def proceed(self, elapsed_seconds: float) -> None:
        if elapsed_seconds >= self._n_cuts * CUT_PERIOD_SECONDS:
            self.server.execute(CUT)
            self._n_cuts += 1


class Proxied(PostgreSQLFault):
    command = ""

    def begin(self) -> None:
        self.proxy.tell(self.command)

    def end(self) -> None:
        self.proxy.tell("pass")


class Slow(Proxied):
    name = "PostgreSQL slow by 2 s a query"
    min_seconds = HANG_SECONDS
    command = "delay 2"


class Unreachable(Proxied):
    """Packets are lost: connections open and carry nothing."""

    name = "PostgreSQL unreachable"
    min_seconds = HANG_SECONDS
    command = "hold"
    effects = Effects(is_unready=True)


class Refusing(Proxied):
    name = "PostgreSQL refuses connections"
    command = "refuse"
    effects = Effects(is_unready=True)


class Locked(Fault):
    """Another process holds SQLite's only lock for writing."""

    name = "SQLite locked"
    min_seconds = HANG_SECONDS
    group = "database"

    def prepare(self) -> None:
        if self.system.server is not None:
            raise NotPossible("the database is PostgreSQL")

    def begin(self) -> None:
        path = self.system.database_url.removeprefix("sqlite:///")
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()
