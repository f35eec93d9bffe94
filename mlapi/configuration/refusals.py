"""The errors by which a database refuses statements that are right, as both engines raise them.

psycopg reports a read-only transaction as InternalError and a missing privilege as
ProgrammingError, which Django keeps, although no change to the program would help. Here they become
OperationalError, as everything else that passes once somebody has mended the database.
"""

import sqlite3
import time
from types import TracebackType

import psycopg
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

READ_ONLY = "25006"
MISSING_PRIVILEGE = "42501"
DISK_FULL = "53100"

# Of PostgreSQL, where the lack of room is not that of the tables' disk: shared memory for parallel
# queries, and the temporary files of a large query, which gives the room back.
OTHER_ROOM = frozenset({"dsm_impl.c", "buffile.c"})

# By SQLite's primary result code. A connection that was opened for reading only stays so.
SQLITE_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)
# Extended result codes have the primary one in their lowest byte.
PRIMARY_CODE = 0xFF

UNAVAILABLE = "The database is unavailable. Try again later."
REFUSES_CHANGES = "The database accepts no changes at the moment. Try again later."
NO_ROOM = "The database has no room left. Try again later."

# Only a write can show that there is room again, and a service that is not ready gets none.
NO_ROOM_SECONDS = 15.0
_no_room_at: float | None = None


class RefusalWrapper(DatabaseErrorWrapper):
    """Raises OperationalError for refusals, and marks their connection to be replaced."""

    def __init__(self, connection: "ReplacedWhenRefused") -> None:
        super().__init__(connection)
        self._connection = connection

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is not None:
            _note_lack_of_room(exc_value)
            if _is_refusal(exc_value):
                self._connection.has_refused = True
                self._connection.errors_occurred = True
                raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class ReplacedWhenRefused(BaseDatabaseWrapper):
    """The part of both engines that does not use a connection again after a refusal.

    A connection to a server that has become a standby, or one that was opened while the database
    was read-only, would go on refusing after the database is back.
    """

    has_refused = False

    @cached_property
    def wrap_database_errors(self) -> RefusalWrapper:
        return RefusalWrapper(self)

    def connect(self) -> None:
        self.has_refused = False
        super().connect()

    def is_usable(self) -> bool:
        return not self.has_refused and super().is_usable()


def lacks_room(*, last_write_at: float) -> bool:
    """Whether the database has told this process within NO_ROOM_SECONDS that its disk is full.

    Not if this process has written since: `last_write_at` is a time of `time.monotonic()`.
    """
    if _no_room_at is None or last_write_at > _no_room_at:
        return False
    return time.monotonic() - _no_room_at < NO_ROOM_SECONDS


def public_message(error: Exception) -> str:
    """What a caller may know of a database error."""
    cause = error.__cause__
    if isinstance(cause, psycopg.Error):
        if cause.sqlstate in {READ_ONLY, MISSING_PRIVILEGE}:
            return REFUSES_CHANGES
        if cause.sqlstate == DISK_FULL:
            return NO_ROOM
    if (code := _sqlite_code(cause)) == sqlite3.SQLITE_READONLY:
        return REFUSES_CHANGES
    return NO_ROOM if code == sqlite3.SQLITE_FULL else UNAVAILABLE


def _note_lack_of_room(error: BaseException) -> None:
    global _no_room_at
    if isinstance(error, psycopg.Error):
        is_full = error.sqlstate == DISK_FULL and error.diag.source_file not in OTHER_ROOM
    else:
        is_full = _sqlite_code(error) == sqlite3.SQLITE_FULL
    if is_full:
        _no_room_at = time.monotonic()


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, psycopg.Error):
        return error.sqlstate in {READ_ONLY, MISSING_PRIVILEGE}
    return _sqlite_code(error) in SQLITE_UNUSABLE


def _sqlite_code(error: BaseException | None) -> int:
    """The primary result code of an error of SQLite; 0 for any other, and for the module's own."""
    if not isinstance(error, sqlite3.Error):
        return 0
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & PRIMARY_CODE
