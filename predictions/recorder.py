"""Predictions in, committed rows out: the only statement that writes to the prediction log."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, connection, models, transaction

from predictions.metrics import PREDICTIONS, RECORDING_SECONDS
from predictions.models import Prediction
from registry.models import ModelNotFound, ModelVersion

logger = logging.getLogger(__name__)

FIELDS: Sequence["models.Field[Any, Any]"] = [
    field for field in Prediction._meta.concrete_fields if not field.primary_key
]
COLUMNS = ", ".join(str(field.column) for field in FIELDS)
TABLE = Prediction._meta.db_table
VERSIONS = ModelVersion._meta.db_table
USERS = get_user_model()._meta.db_table

# Rows whose version or user is not active drop out in the statement itself: it sees whatever was
# committed before it began, so that no request sent after a deactivation was answered gets a 201.
GUARDS = f"""
    JOIN {VERSIONS} version ON version.id = given.model_id AND version.is_active
    LEFT JOIN {USERS} caller ON caller.id = given.user_id
    WHERE given.user_id IS NULL OR caller.is_active
"""


class CallerInactive(Exception):
    """The caller's user was deactivated or deleted; the message is for the caller."""


def record(rows: Sequence[Prediction]) -> list[Prediction | Exception]:
    """Insert rows in one transaction; on return those that come back as themselves are committed.

    The others come back as the reason: ModelNotFound or CallerInactive where version or user is no
    longer active. Rows of one statement the database refuses are tried again one by one. Raises
    OperationalError or InterfaceError where the outcome is unknown, and then tries nothing again.
    """
    try:
        with RECORDING_SECONDS.time():
            ids = _insert(rows)
    except (DataError, IntegrityError) as error:
        if len(rows) > 1:
            logger.warning("A batch of %d rows was refused: %s", len(rows), error)
            return [outcome for row in rows for outcome in record([row])]
        return [_refusal(rows[0]) or error]
    return [_recorded(row, ids.get(key)) for key, row in enumerate(rows)]


def record_all(rows: Sequence[Prediction]) -> None:
    """Insert rows in one transaction, all of them or none.

    Raises ModelNotFound or CallerInactive, and what the database raises.
    """
    with transaction.atomic(), RECORDING_SECONDS.time():
        ids = _insert(rows)
        missing = next((row for key, row in enumerate(rows) if key not in ids), None)
        if missing is not None:
            raise _refusal(missing) or ModelNotFound(_not_found(missing))
    for key, row in enumerate(rows):
        _recorded(row, ids[key])


def _recorded(row: Prediction, pk: int | None) -> Prediction | Exception:
    if pk is None:
        return _refusal(row) or ModelNotFound(_not_found(row))
    row.pk = pk
    row._state.adding = False
    PREDICTIONS.labels(str(row.model), row.status).inc()
    return row


def _refusal(row: Prediction) -> Exception | None:
    """Why the guards refused a row, as far as it can still be seen."""
    if not ModelVersion.objects.active().filter(pk=row.model_id).exists():
        return ModelNotFound(_not_found(row))
    users = get_user_model()._default_manager
    if row.user_id is not None and not users.filter(pk=row.user_id, is_active=True).exists():
        return CallerInactive("User is inactive")
    return None


def _not_found(row: Prediction) -> str:
    return f"Model {row.model_id} not found or inactive"


# -- the statement --------------------------------------------------------------------------------


def _insert(rows: Sequence[Prediction]) -> Mapping[int, int]:
    """Commit rows; the ids of those that pass the guards, by place in `rows`.

    The place travels through the statement and back: nothing promises that RETURNING keeps the
    order of what was inserted.
    """
    values = [{str(field.column): getattr(row, field.attname) for field in FIELDS} for row in rows]
    return _insert_sqlite(values) if connection.vendor == "sqlite" else _insert_postgresql(values)


@cache
def _postgresql_statement() -> str:
    # One parameter whatever the number of rows: orjson writes it far quicker than the driver writes
    # arrays, and `json` columns keep their part of the text verbatim.
    given = ", ".join(f"{field.column} {field.db_type(connection)}" for field in FIELDS)
    return f"""
        WITH given AS MATERIALIZED (
            SELECT given.*, nextval(pg_get_serial_sequence('{TABLE}', 'id')) AS id
            FROM json_to_recordset(%s::json) AS given(key integer, {given}) {GUARDS}
        ), written AS (
            INSERT INTO {TABLE} (id, {COLUMNS}) SELECT id, {COLUMNS} FROM given
        )
        SELECT key, id FROM given
    """  # noqa: S608 -- names of our own tables and columns


def _insert_postgresql(rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    document = orjson.dumps([{"key": key, **row} for key, row in enumerate(rows)]).decode()
    with connection.cursor() as cursor:
        # In autocommit: the answer comes after the commit.
        cursor.execute(_postgresql_statement(), [document])
        return dict(cursor.fetchall())


SQLITE_STATEMENT = f"""
    WITH given({COLUMNS}) AS (VALUES ({", ".join(["%s"] * len(FIELDS))}))
    INSERT INTO {TABLE} ({COLUMNS}) SELECT {", ".join(f"given.{field.column}" for field in FIELDS)}
    FROM given {GUARDS} RETURNING id
"""  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    ids = {}
    with transaction.atomic(), connection.cursor() as cursor:
        for key, row in enumerate(rows):
            cursor.execute(
                SQLITE_STATEMENT,
                [
                    field.get_db_prep_save(row[str(field.column)], connection=connection)
                    for field in FIELDS
                ],
            )
            # Read to its end, which is what makes SQLite finish the statement.
            for (pk,) in cursor.fetchall():
                ids[key] = pk
    return ids
