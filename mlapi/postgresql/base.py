"""Django's PostgreSQL engine, with a connection check on checkout that survives a restart."""

from typing import Any

from django.db.backends.postgresql import base
from psycopg import OperationalError
from psycopg_pool import ConnectionPool

from mlapi.metrics import observe_pool


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
            ConnectionPool.check_connection(connection)
        except OperationalError:
            pool.putconn(connection)
            pool.check()
            connection = super().get_new_connection(conn_params)
        observe_pool(pool.get_stats())
        return connection

    def _close(self) -> Any:
        result = super()._close()  # type: ignore[misc]
        if pool := self.pool:
            observe_pool(pool.get_stats())
        return result
