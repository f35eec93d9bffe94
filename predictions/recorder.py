"""Predictions in, committed rows out: the only statement that writes to the prediction log."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import psycopg
from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, connection, models, transaction
from prometheus_client import Counter

from predictions.metrics import PREDICTIONS, RECORDING_SECONDS
from predictions.models import Prediction
from registry.models import ModelNotFound, ModelVersion

logger = logging.getLogger(__name__)

FIELDS: Sequence["models.Field[Any, Any]"] = [
    field for field in Prediction._meta.concrete_fields if not field.primary_key
]
# Of these fields, attribute and column have one name.
NAMES = [field.attname for field in FIELDS]
COLUMNS = ", ".join(NAMES)
TABLE = Prediction._meta.db_table
VERSIONS = ModelVersion._meta.db_table
USERS = get_user_model()._meta.db_table

# Rows whose version or user is not active, or whose token was issued under an older password, drop
# out in the statement itself: it sees whatever was committed before it began, so that no request
# sent after a deactivation was answered gets a 201. MD5 is simplejwt's, as a name of the password's
# hash (its CHECK_REVOKE_TOKEN), and keeps nothing secret.
GUARDS = f"""
    JOIN {VERSIONS} version ON version.id = given.model_id AND version.is_active
    LEFT JOIN {USERS} caller ON caller.id = given.user_id
    WHERE given.user_id IS NULL OR caller.is_active AND (
        given.password_md5 IS NULL OR upper(md5(caller.password)) = given.password_md5
    )
"""


class CallerInactive(Exception):
    """The caller's user is no longer active, or the token no longer good; says so to the caller."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An unsaved row, and the claim of its caller's token about the password it was issued under
    (None where no token was shown: commands).
    """

    row: Prediction
    password_md5: str | None = None


def record(entries: Sequence[Entry]) -> list[Prediction | Exception]:
    """Insert rows in one transaction; those that come back as rows are committed and have their id.

    The others come back as the reason: ModelNotFound or CallerInactive. Rows of one statement that
    the database refuses are tried again one by one. Raises OperationalError or InterfaceError where
    the outcome is unknown, and then tries nothing again.
    """
    try:
        with RECORDING_SECONDS.time():
            ids = _insert(entries)
    except (DataError, IntegrityError) as error:
        if len(entries) > 1:
            logger.warning("A batch of %d rows was refused: %s", len(entries), error)
            return [outcome for entry in entries for outcome in record([entry])]
        return [error if _is_wanted(entries[0].row) else _refusal(entries[0].row)]
    return [
        _recorded(entry.row, ids[key]) if key in ids else _refusal(entry.row)
        for key, entry in enumerate(entries)
    ]


def record_all(entries: Sequence[Entry]) -> list[Prediction]:
    """Insert rows in one transaction, all of them or none, and return them with their ids.

    Raises ModelNotFound or CallerInactive, and what the database raises.
    """
    with transaction.atomic(), RECORDING_SECONDS.time():
        ids = _insert(entries)
        missing = next((key for key in range(len(entries)) if key not in ids), None)
        if missing is not None:
            raise _refusal(entries[missing].row)
    return [_recorded(entry.row, ids[key]) for key, entry in enumerate(entries)]


def _recorded(row: Prediction, pk: int) -> Prediction:
    row.pk = pk
    row._state.adding = False
    _counter(str(row.model), row.status).inc()
    return row


@cache
def _counter(model: str, status: str) -> Counter:
    # Looking one up by its labels takes longer than counting.
    return PREDICTIONS.labels(model, status)


def _refusal(row: Prediction) -> Exception:
    """Why the guards refused a row, as far as it can still be seen."""
    if row.user_id is not None and _is_wanted(row):
        return CallerInactive("User is inactive, or the token was revoked")
    return ModelNotFound(f"Model {row.model_id} not found or inactive")


def _is_wanted(row: Prediction) -> bool:
    return ModelVersion.objects.active().filter(pk=row.model_id).exists()


# -- the statement --------------------------------------------------------------------------------


def _insert(entries: Sequence[Entry]) -> Mapping[int, int]:
    """Commit rows; the ids of those that pass the guards, by place in `entries`.

    The place travels through the statement and back: nothing promises that RETURNING keeps the
    order of what was inserted.
    """
    insert = _insert_sqlite if connection.vendor == "sqlite" else _insert_postgresql
    return insert(entries)


@cache
def _postgresql_statement() -> str:
    # One parameter whatever the number of rows: orjson writes it far quicker than the driver writes
    # arrays, and `json` columns keep their part of the text verbatim.
    given = ", ".join(f"{field.attname} {field.db_type(connection)}" for field in FIELDS)
    return f"""
        WITH given AS MATERIALIZED (
            SELECT given.*, nextval(pg_get_serial_sequence('{TABLE}', 'id')) AS id
            FROM json_to_recordset(%s::json)
                AS given(key integer, password_md5 text, {given}) {GUARDS}
        ), written AS (
            INSERT INTO {TABLE} (id, {COLUMNS}) SELECT id, {COLUMNS} FROM given
        )
        SELECT key, id FROM given
    """  # noqa: S608 -- names of our own tables and columns


def _insert_postgresql(entries: Sequence[Entry]) -> dict[int, int]:
    document = orjson.dumps(
        [
            {
                "key": key,
                "password_md5": entry.password_md5,
                # What is left out comes out as null.
                **{
                    name: value for name in NAMES if (value := getattr(entry.row, name)) is not None
                },
            }
            for key, entry in enumerate(entries)
        ]
    )
    connection.ensure_connection()
    # Django's cursor would send the document inside the statement, to be parsed and planned anew;
    # prepared, it took a third less time. Outside a transaction the answer follows the commit.
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_postgresql_statement(), [document.decode()], prepare=True)
        return dict(cursor.fetchall())


SQLITE_STATEMENT = f"""
    WITH given(password_md5, {COLUMNS}) AS (VALUES (%s, {", ".join(["%s"] * len(FIELDS))}))
    INSERT INTO {TABLE} ({COLUMNS}) SELECT {", ".join(f"given.{name}" for name in NAMES)}
    FROM given {GUARDS} RETURNING id
"""  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(entries: Sequence[Entry]) -> dict[int, int]:
    ids = {}
    with transaction.atomic(), connection.cursor() as cursor:
        for key, entry in enumerate(entries):
            values = [
                field.get_db_prep_save(getattr(entry.row, name), connection=connection)
                for name, field in zip(NAMES, FIELDS, strict=True)
            ]
            cursor.execute(SQLITE_STATEMENT, [entry.password_md5, *values])
            # Read to its end, which is what makes SQLite finish the statement.
            for (pk,) in cursor.fetchall():
                ids[key] = pk
    return ids
