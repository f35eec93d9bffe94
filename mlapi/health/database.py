"""Whether the database responds, can be written to, and has all migrations."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from registry.models import Alias, ModelVersion

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 2
# What changes with a deployment or a move of an alias is read less often than once a second.
REREAD_SECONDS = 5
MAX_ARTIFACTS = 20


class DatabaseProbe:
    """Checks the database over a connection of its own, which belongs to the calling thread.

    The connection is outside the pool, since an exhausted pool must not fail probes, and kept open,
    since opening one takes the server longer than the rest of the check.
    """

    def __init__(self) -> None:
        self._connection: BaseDatabaseWrapper | None = None
        self._migrations = "unknown"
        self._reread_at = 0.0
        self.live_artifacts: Sequence[str] = ()

    def state(self) -> Mapping[str, str]:
        """`database`: ok or unavailable; `migrations`: applied, pending, inconsistent, unknown."""
        try:
            if self._connection is None:
                self._connection = probe_connection()
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if time.monotonic() >= self._reread_at:
                self._migrations = _migration_state(self._connection)
                self.live_artifacts = _live_artifacts(self._connection)
                # Until everything is applied, look each time: a start waits for it.
                is_applied = self._migrations == "applied"
                self._reread_at = time.monotonic() + REREAD_SECONDS if is_applied else 0.0
        except (DatabaseError, InterfaceError) as error:
            self.close()
            logger.debug("The database does not respond: %s", error)
            return {"database": "unavailable", "migrations": "unknown"}
        return {"database": "ok", "migrations": self._migrations}

    def close(self) -> None:
        """Close the connection; the next check opens another."""
        connection, self._connection, self._reread_at = self._connection, None, 0.0
        if connection is not None:
            connection.close()


def probe_connection() -> BaseDatabaseWrapper:
    """A new connection outside the pool, with short timeouts."""
    connection = connections[DEFAULT_DB_ALIAS].copy()
    options: dict[str, object] = connection.settings_dict["OPTIONS"]
    if connection.vendor == "postgresql":
        options.pop("pool", None)
        options["connect_timeout"] = PROBE_TIMEOUT_SECONDS
        configured = options.get("options", "")
        options["options"] = f"{configured} -c statement_timeout={PROBE_TIMEOUT_SECONDS}s".strip()
    else:
        options["timeout"] = PROBE_TIMEOUT_SECONDS
    return connection


def _migration_state(connection: BaseDatabaseWrapper) -> str:
    applied = _applied_migrations(connection)
    latest, known = _migrations_on_disk()
    if not latest <= applied:
        return "pending"
    # One below the latest is missing: someone edited the table, or restored part of it.
    return "applied" if known <= applied else "inconsistent"


def _applied_migrations(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """As MigrationRecorder.applied_migrations, which would use a connection of the pool."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return set()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT app, name FROM {recorder.Migration._meta.db_table}")  # noqa: S608
        return set(cursor.fetchall())


@cache
def _migrations_on_disk() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Each app's latest migration, and all; cached, since they stay while the process runs."""
    graph = MigrationLoader(None).graph
    return set(graph.leaf_nodes()), set(graph.nodes)


def _live_artifacts(connection: BaseDatabaseWrapper) -> Sequence[str]:
    """Paths of some artifacts that aliases hold."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT v.artifact FROM {Alias._meta.db_table} a"  # noqa: S608 -- no input
            f" JOIN {ModelVersion._meta.db_table} v ON v.id = a.version_id"
            " WHERE v.artifact <> '' ORDER BY a.id LIMIT %s",
            [MAX_ARTIFACTS],
        )
        return tuple(path for (path,) in cursor.fetchall())
