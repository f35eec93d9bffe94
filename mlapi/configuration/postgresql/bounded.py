"""Connections that do not wait for ever for a database that has stopped answering.

PostgreSQL's own `statement_timeout` needs a server that runs, and PgBouncer either refuses it at
connection or passes it on to other clients. So it is the client that counts.
"""

import contextlib
from typing import Any, ClassVar

import psycopg
from psycopg import Connection, capabilities
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout
from psycopg.rows import TupleRow

from registry.database import statements

# A server that is only slow stops the statement when it is asked to.
CANCEL_SECONDS = 1.0


class NotResponding(psycopg.OperationalError):
    """The server did not answer in time. The statement may or may not have been committed."""


class BoundedConnection(Connection[TupleRow]):
    """Gives up a statement after `statement_seconds`: cancels it, and closes the connection.

    Earlier, if the thread's caller does not wait that long: see `statements.limited_by`.
    """

    # None, as in commands, which may run longer. `limit_statements` sets it for a server.
    statement_seconds: ClassVar[float | None] = None

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Run one exchange with the server; raises NotResponding."""
        seconds, in_all = self.statement_seconds, type(self).statement_seconds
        if seconds is None or args or kwargs:
            return super().wait(gen, *args, **kwargs)
        left = statements.seconds_left(seconds if in_all is None else in_all)
        return self.wait_for(gen, seconds if left is None else min(seconds, left))

    def wait_for(self, gen: PQGen[RV], seconds: float) -> RV:
        """Run one exchange within this time; raises NotResponding."""
        try:
            return super().wait(gen, timeout=seconds)
        except _WaitTimeout:
            self._abandon()
            raise NotResponding(f"The database did not answer within {seconds:.3g} s") from None

    def _abandon(self) -> None:
        """Close the connection, whose statement nobody waits for any more.

        Unless it is cancelled, it goes on, and keeps its locks and one of the server's connections.
        """
        # Without this capability, cancelling would wait for the server itself.
        if capabilities.has_cancel_safe():
            with contextlib.suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_SECONDS)
        self.pgconn.finish()


def limit_statements(seconds: float) -> None:
    """Let no statement of this process's connections take longer than this."""
    BoundedConnection.statement_seconds = seconds
