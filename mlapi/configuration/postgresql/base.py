"""Django's PostgreSQL engine with a connection check that recovers quickly from a restart."""

import select
import time
from weakref import WeakKeyDictionary

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from mlapi.configuration.postgresql.bounded import BoundedConnection, NotResponding
from mlapi.configuration.refusals import ReplacedWhenRefused

# A connection that was in use this recently is not checked with a query.
TRUSTED_SECONDS = 1.0
# For that query.
CHECK_SECONDS = 2.0
# A database may refuse every request for minutes, and each drained pool connects anew.
DRAIN_PAUSE_SECONDS = 1.0

_last_used: WeakKeyDictionary[Connection[TupleRow], float] = WeakKeyDictionary()
_last_drained: WeakKeyDictionary[ConnectionPool[Connection[TupleRow]], float] = WeakKeyDictionary()


class DatabaseWrapper(ReplacedWhenRefused, base.DatabaseWrapper):
    """Checks each connection from the pool once.

    With Django's CONN_HEALTH_CHECKS, the pool tries its connections one after the other, with a
    growing pause after each dead one. Here, the first dead one makes the pool replace all of them.
    """

    def get_new_connection(self, conn_params: dict[str, object]) -> Connection[TupleRow]:
        connection: Connection[TupleRow] = super().get_new_connection(conn_params)
        pool = self.pool
        if pool is None:
            return connection
        try:
            if not _is_surely_alive(connection):
                _check(connection)
        except NotResponding:
            # Checking the others, one after the other, would take as long for each.
            pool.putconn(connection)
            raise
        except OperationalError:
            pool.putconn(connection)
            pool.check()
            connection = super().get_new_connection(conn_params)
        return connection

    def _close(self) -> None:
        if self.connection is not None:
            _last_used[self.connection] = time.monotonic()
            if self.has_refused and (pool := self.pool):
                # The pool replaces a closed connection. The others are as old as this one.
                self.connection.close()
                _drain(pool)
        super()._close()  # type: ignore[misc]


def _check(connection: Connection[TupleRow]) -> None:
    """Raise OperationalError unless the server answers on this connection."""
    assert isinstance(connection, BoundedConnection)
    limit = connection.statement_seconds
    # On the instance: the limit of its class is for all statements.
    connection.statement_seconds = CHECK_SECONDS if limit is None else min(limit, CHECK_SECONDS)  # type: ignore[misc]
    try:
        ConnectionPool.check_connection(connection)
    finally:
        del connection.statement_seconds


def _is_surely_alive(connection: Connection[TupleRow]) -> bool:
    """Whether a connection was in use a moment ago and the server has not closed it since.

    An idle connection has nothing to read, unless the server is shutting down.
    """
    if time.monotonic() - _last_used.get(connection, -TRUSTED_SECONDS) >= TRUSTED_SECONDS:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _drain(pool: ConnectionPool[Connection[TupleRow]]) -> None:
    """Replace all connections of a pool: the idle ones at once, the others when they return."""
    now = time.monotonic()
    if now - _last_drained.get(pool, -DRAIN_PAUSE_SECONDS) >= DRAIN_PAUSE_SECONDS:
        _last_drained[pool] = now
        pool.drain()
