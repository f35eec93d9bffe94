"""Transactions that the database has refused because of another one at the same time."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError

Result = TypeVar("Result")

MAX_ATTEMPTS = 3
PAUSE_SECONDS = 0.2
# Classes of SQLSTATE: serialization failures and deadlocks; locks that were not available in time.
ROLLED_BACK, NOT_AVAILABLE = "40", "55"
STATEMENT_TIMEOUT = "57014"


def is_conflict(error: OperationalError) -> bool:
    """Whether the same transaction may well succeed when it is repeated: a deadlock, a
    serialization failure, or SQLite's only writer being busy for too long.
    """
    return _sqlstate(error).startswith(ROLLED_BACK) or _is_busy(error)


def concerns_one_transaction(error: OperationalError) -> bool:
    """Whether other transactions may well succeed, since the database itself can be used."""
    state = _sqlstate(error)
    return is_conflict(error) or state.startswith(NOT_AVAILABLE) or state == STATEMENT_TIMEOUT


def repeated(transaction: Callable[[], Result]) -> Result:
    """The result of a transaction, which is repeated after a conflict, at most twice.

    It must be harmless to repeat, and must not be part of another transaction.
    """
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return transaction()
        except OperationalError as error:
            if not is_conflict(error):
                raise
        # Jitter, so that transactions that met once do not meet again.
        time.sleep(random.uniform(0.5, 1.5) * PAUSE_SECONDS * attempt)  # noqa: S311 -- jitter
    return transaction()


def _sqlstate(error: OperationalError) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""


def _is_busy(error: OperationalError) -> bool:
    name: str = getattr(error.__cause__, "sqlite_errorname", "")
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
