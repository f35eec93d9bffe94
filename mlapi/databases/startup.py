"""Whether the service may use the database as it is, asked before the first request."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from mlapi.databases import pooler
from mlapi.databases.pooler import PoolerMisconfigured
from mlapi.databases.probes import probe_connection
from predictions.models import Prediction, has_rows_from_the_future

TIMEOUT_SECONDS = 5
RETRY_SECONDS = 1
NOT_CHECKED = "The database has not answered since the service was started. Try again later."

logger = logging.getLogger(__name__)

_is_pending = threading.Event()


class DatabaseUnfit(Exception):
    """The service must not use the database as it is; the message says what to do."""


def check_database() -> None:
    """Raise DatabaseUnfit unless the database may be used; leaves no connection.

    It must be migrated, also after it was restored: what is recorded before would come too early in
    the log. A pooler must not mix the statements of its clients. Raises Django's database errors.
    """
    with probe_connection(TIMEOUT_SECONDS) as connection:
        _check_migrations(connection)
    try:
        pooler.check_pooler(connections[DEFAULT_DB_ALIAS])
    except PoolerMisconfigured as error:
        raise DatabaseUnfit(str(error)) from error


def check_later(on_passed: Callable[[], None]) -> None:
    """Check until the database answers and may be used, in a thread, and then call `on_passed`."""
    _is_pending.set()
    threading.Thread(
        target=_check_until_passed, args=[on_passed], name="check-start", daemon=True
    ).start()


def is_check_pending() -> bool:
    """Whether `check_later` is still waiting for the database."""
    return _is_pending.is_set()


def _check_until_passed(on_passed: Callable[[], None]) -> None:
    told = ""
    while True:
        try:
            check_database()
            break
        except DatabaseUnfit as error:
            if str(error) != told:
                told = str(error)
                logger.error("Requests are refused: %s", told)
        except Error:
            # The health checks say so.
            pass
        except Exception:
            # Without this thread, every request would be refused for ever.
            logger.exception("The database could not be checked")
        time.sleep(RETRY_SECONDS)
    _is_pending.clear()
    on_passed()


def _check_migrations(connection: BaseDatabaseWrapper) -> None:
    executor = MigrationExecutor(connection)
    if pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise DatabaseUnfit(
            f"{len(pending)} migrations are not applied. Run `python manage.py migrate` first."
        )
    if has_rows_from_the_future(Prediction._meta.db_table, connection):
        raise DatabaseUnfit(
            "The database was restored from a backup of another server. Run `python manage.py"
            " migrate` first, so that the log goes on in its order."
        )
