"""Django's PostgreSQL engine, with a connection check on checkout that survives a restart."""

import select
import time
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool

from mlapi.metrics import observe_pool

# A connection that was in use so recently is not asked over the network whether it still is one.
TRUSTED_SECONDS = 1.0

_last_used: WeakKeyDictionary[Connection[Any], float] = WeakKeyDictionary()


class DatabaseWrapper(base.DatabaseWrapper):
    """Checks each connection it takes from the pool, once.

    Django's CONN_HEALTH_CHECKS makes the pool try its connections one after the other, with a
    growing pause between dead ones. Here the first dead one has the pool weed out all of them.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        pool = self.pool
        if pool is None:
            return connection
        try:
            if not _is_surely_alive(connection):
                ConnectionPool.check_connection(connection)
        except OperationalError:
            pool.putconn(connection)
            pool.check()
            connection = super().get_new_connection(conn_params)
        observe_pool(pool.get_stats())
        return connection

    def _close(self) -> Any:
        if self.connection is not None:
            _last_used[self.connection] = time.monotonic()
        result = super()._close()  # type: ignore[misc]
        if pool := self.pool:
            observe_pool(pool.get_stats())
        return result


def _is_surely_alive(connection: Connection[Any]) -> bool:
    """Whether a connection was in use a moment ago and its server has not hung up since.

    A server that ends says so on the socket, where an idle connection has nothing to read.
    """
    if time.monotonic() - _last_used.get(connection, -TRUSTED_SECONDS) >= TRUSTED_SECONDS:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
