"""Whether the database responds, can be written to, and has all migrations."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from mlapi.configuration import refusals
from mlapi.databases import startup
from mlapi.databases.probes import probe_connection, write_refusal
from predictions.partitions.catalog import find_layout
from predictions.partitions.errors import PartitionsUnavailable
from predictions.partitions.metrics import IDS_LEFT, PARTITIONS_AHEAD
from predictions.serving import recorder
from registry.database import clock
from registry.models import Alias, ModelVersion

logger = logging.getLogger(__name__)

# What changes with a deployment or a move of an alias is read less often.
REREAD_SECONDS = 5
MAX_VERSIONS = 1000
# Somebody else has made partitions of another kind.
UNMANAGED = "unmanaged"


class DatabaseProbe:
    """Checks the database over a new connection each time.

    It is outside the pool, since an exhausted pool must not fail probes.
    """

    def __init__(self) -> None:
        self._migrations = "unknown"
        self._reread_at = 0.0
        self._refusal = ""
        self._partitions = "ok"
        self.live_versions: Sequence[ModelVersion] = ()

    def state(self) -> Mapping[str, str]:
        """`database`: ok, unavailable, unchecked, read-only or full; `migrations`: applied,
        pending, inconsistent or unknown; `partitions`: ok (also for a plain table), few ahead,
        nearly full, unmanaged or unknown.
        """
        try:
            with probe_connection() as connection:
                clock.compare(connection)
                self._reread(connection)
                refusal = write_refusal(connection) if self._migrations == "applied" else ""
        except (DatabaseError, InterfaceError) as error:
            self._reread_at = 0.0
            self._note_refusal(str(error))
            return {"database": "unavailable", "migrations": "unknown", "partitions": "unknown"}
        state = "read-only" if refusal else "ok"
        if not refusal and refusals.lacks_room(last_write_at=recorder.last_committed_at()):
            state, refusal = "full", "its disk is full"
        if state == "ok" and startup.is_check_pending():
            state = "unchecked"
        self._note_refusal(refusal)
        return {
            "database": state,
            "migrations": self._migrations,
            "partitions": self._partitions,
        }

    def _reread(self, connection: BaseDatabaseWrapper) -> None:
        if time.monotonic() < self._reread_at:
            return
        self._migrations = _migration_state(connection)
        if self._migrations == "applied":
            # Before that, look each time: a start waits for it, and a table may be missing.
            self._reread_at = time.monotonic() + REREAD_SECONDS
            self.live_versions = _live_versions(connection)
            self._reread_partitions(connection)

    def _reread_partitions(self, connection: BaseDatabaseWrapper) -> None:
        layout, state, warning = None, "ok", ""
        try:
            layout = find_layout(connection)
        except PartitionsUnavailable as error:
            # The service itself may work well with them.
            state, warning = UNMANAGED, f"Partitions are not created ahead: {error}"
        if layout is not None:
            state = layout.state
            warning = (
                f"Partitions of the log: {state}; {layout.ids_left} more rows fit,"
                f" {layout.ahead} partitions are ahead"
            )
        IDS_LEFT.set(-1 if layout is None else layout.ids_left)
        PARTITIONS_AHEAD.set(-1 if layout is None else layout.ahead)
        if warning and state != self._partitions:
            logger.warning("%s", warning)
        self._partitions = state

    def _note_refusal(self, refusal: str) -> None:
        if refusal and refusal != self._refusal:
            logger.warning("The database cannot be used: %s", refusal)
        self._refusal = refusal


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


def _live_versions(connection: BaseDatabaseWrapper) -> Sequence[ModelVersion]:
    """The versions that answer for aliases, with the columns that say where their artifacts are."""
    alias, version = Alias._meta.db_table, ModelVersion._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, name, version, artifact, sha256, size_bytes"  # noqa: S608 -- no input
            f" FROM {version} WHERE artifact <> '' AND is_active AND quarantined_at IS NULL AND"
            f" (id IN (SELECT version_id FROM {alias}) OR id IN (SELECT canary_id FROM {alias}))"
            " ORDER BY id LIMIT %s",
            [MAX_VERSIONS],
        )
        return tuple(
            ModelVersion(
                pk=pk,
                name=name,
                version=number,
                artifact=artifact,
                sha256=sha256,
                size_bytes=size_bytes,
            )
            for pk, name, number, artifact, sha256, size_bytes in cursor.fetchall()
        )
