"""Writes records to the prediction log; everything that is answered is recorded here."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import orjson
import prometheus_client
from django.db import DataError, IntegrityError, connection, models, transaction

from predictions.metrics import PREDICTIONS, RECORDING_SECONDS
from predictions.models import Prediction
from predictions.serving import guards, idempotency
from predictions.serving.idempotency import AlreadyAnswered, Claim
from predictions.serving.records import Record
from registry.access.policies import POLICIES
from registry.database import statements
from registry.models import ModelVersion

logger = logging.getLogger(__name__)

FIELDS: Sequence["models.Field[Any, Any]"] = [
    field
    for field in Prediction._meta.concrete_fields
    if not field.primary_key and not field.has_db_default()
]
# For these fields, attribute and column have the same name.
NAMES = [field.attname for field in FIELDS]
COLUMNS = ", ".join(NAMES)
# The columns in which the rows of a batch differ, with the `key` of the statement; and all others.
OWN = (
    "key",
    "input_data",
    "prediction",
    "confidence",
    "output",
    "flags",
    "latency_ms",
    "reference",
)
SHARED = ("password_md5", *(name for name in NAMES if name not in OWN))
own_values, shared_values = attrgetter(*OWN), attrgetter(*SHARED)
# With fewer rows, it is not worth another statement.
MIN_BATCH_ROWS = 20
TABLE = Prediction._meta.db_table
# The IDs that the guards of PostgreSQL's statements look up.
VERSIONS, USERS, KEYS = "= ANY(%(versions)s)", "= ANY(%(users)s)", "= ANY(%(keys)s)"


# By the monotonic clock of this process.
_last_committed_at = 0.0


def record(records: Sequence[Record]) -> list[Record | Exception]:
    """Insert records in one transaction; a result for each, in their order.

    A result is the committed record, with its pk, or the reason why it was not written:
    what `guards.refusal` says, or the database's error. If the database refuses a
    statement of several rows, they are tried again one by one. Raises OperationalError or
    InterfaceError if it is unknown whether the transaction was committed; nothing is retried then.
    """
    return _record(records, _write)


def record_once(records: Sequence[Record]) -> list[Record | Exception]:
    """Like `record`; the result is AlreadyAnswered if another request has claimed the key."""
    return _record(records, _write_once)


def _record(
    records: Sequence[Record],
    write: Callable[[Sequence[Record]], list[Record | Exception]],
) -> list[Record | Exception]:
    try:
        with RECORDING_SECONDS.time():
            results = write(records)
    except (DataError, IntegrityError) as error:
        if len(records) > 1:
            logger.warning("A batch of %d rows was refused: %s", len(records), error)
            return [result for record in records for result in _record([record], write)]
        return [error if _model_is_active(records[0]) else _refusal(records[0])]
    _count(records)
    return results


def _write(records: Sequence[Record]) -> list[Record | Exception]:
    missing = _insert(records)
    return [_refusal(record) if record.key in missing else record for record in records]


def _write_once(records: Sequence[Record]) -> list[Record | Exception]:
    """Claim keys, then insert the failed records, which need none, and those whose key was free."""
    claimants = {r.claim: r for r in reversed(records) if r.claim and not r.error}
    with transaction.atomic():
        key_ids = idempotency.claim_keys(list(claimants))
        insertable = [
            record
            for record in records
            if record.error
            or not record.claim
            or (record.claim in key_ids and claimants[record.claim] is record)
        ]
        _insert(insertable)
        refused = {claim for claim in key_ids if not claimants[claim].pk}
        answered = key_ids.keys() - refused
        idempotency.store_answers({key_ids[claim]: [claimants[claim].pk] for claim in answered})
        idempotency.release_keys(key_ids[claim] for claim in refused)
    inserted = {id(record) for record in insertable}

    def result(record: Record) -> Record | Exception:
        if id(record) in inserted:
            return record if record.pk else _refusal(record)
        # If the record that claimed the key for this batch was refused, so are the others.
        return _refusal(record) if record.claim in refused else AlreadyAnswered()

    return [result(record) for record in records]


def record_all(records: Sequence[Record], claim: Claim | None = None) -> None:
    """Insert records in one transaction, all or none, and give each its pk.

    Raises what `guards.refusal` returns, AlreadyAnswered if another request has claimed the key,
    and what the database raises.
    """
    with transaction.atomic(), RECORDING_SECONDS.time():
        key_ids = idempotency.claim_keys([claim]) if claim else {}
        if claim and not key_ids:
            raise AlreadyAnswered
        if missing := _insert(records):
            raise _refusal(records[min(missing)])
        idempotency.store_answers(
            {pk: [record.pk for record in records] for pk in key_ids.values()}
        )
    _count(records)


def last_committed_at() -> float:
    """When this process last committed a record, by `time.monotonic()`; 0 if it never has."""
    return _last_committed_at


def _count(records: Sequence[Record]) -> None:
    global _last_committed_at
    # By the ids: hashing a model instance takes longer than all of the rest.
    versions = {record.model_id: record.model for record in records}
    counts = Counter((record.model_id, record.status) for record in records if record.pk)
    if counts:
        _last_committed_at = time.monotonic()
    for (version_id, status), count in counts.items():
        _counter(str(versions[version_id]), status).inc(count)


@cache
def _counter(model: str, status: str) -> prometheus_client.Counter:
    # Looking a counter up by its labels takes longer than counting.
    return PREDICTIONS.labels(model, status)


def _refusal(record: Record) -> Exception:
    return guards.refusal(record.identity, record.asked)


def _model_is_active(record: Record) -> bool:
    return ModelVersion.objects.active().filter(pk=record.model_id).exists()


# -- the statement --------------------------------------------------------------------------------


def _insert(records: Sequence[Record]) -> set[int]:
    """Insert records and set the pk of those that pass the guards; return the keys of the others.

    The key, a record's place, travels through the statement and back: nothing guarantees that
    RETURNING keeps the order of the inserted rows.
    """
    for key, record in enumerate(records):
        record.key, record.pk = key, 0
        record.mask()
    insert = _insert_sqlite if connection.vendor == "sqlite" else _insert_postgresql
    written = insert(records)
    for key, pk in written:
        records[key].pk = pk
    return set() if len(written) == len(records) else {r.key for r in records if not r.pk}


def _insert_postgresql(records: Sequence[Record]) -> list[statements.Row]:
    is_open = guards.is_open()
    is_batch = _are_alike(records)
    names = {record.model_id: record.model.name for record in records}.values()
    if not is_open or any(map(POLICIES.is_known_private, names)):
        return _run(_whole_statement(is_open, is_batch), records, is_batch)
    has_keys = any(record.api_key_id is not None for record in records)
    written = _run(_usual_statement(has_keys, is_batch), records, is_batch)
    if len(written) < len(records):
        kept = {key for key, _ in written}
        rest = [record for record in records if record.key not in kept]
        written += _run(_whole_statement(is_open, is_batch), rest, is_batch)
    return written


def _are_alike(records: Sequence[Record]) -> bool:
    """Whether there are many, which differ only in the columns in which the rows of a batch do."""
    if len(records) < MIN_BATCH_ROWS:
        return False
    shared = shared_values(records[0])
    return all(shared_values(record) == shared for record in records)


def _run(statement: str, records: Sequence[Record], is_batch: bool) -> list[statements.Row]:
    document: object = records
    shared = {}
    if is_batch:
        document = [dict(zip(OWN, own_values(record), strict=True)) for record in records]
        shared["shared"] = orjson.dumps(
            dict(zip(SHARED, shared_values(records[0]), strict=True))
        ).decode()
    values = {
        **shared,
        "document": orjson.dumps(document).decode(),
        "versions": list({record.model_id for record in records}),
        "users": list({record.user_id for record in records}),
        "keys": list({record.api_key_id for record in records}),
    }
    # Outside a transaction the rows come back after the commit.
    return statements.fetch(statement, values)


@cache
def _usual_statement(has_keys: bool, is_batch: bool) -> str:
    keys = KEYS if has_keys else None
    return _postgresql_statement(guards.usual_condition(VERSIONS, USERS, keys), is_batch)


@cache
def _whole_statement(is_open: bool, is_batch: bool) -> str:
    condition = guards.condition(VERSIONS, USERS, KEYS, is_open=is_open)
    return _postgresql_statement(condition, is_batch)


def _postgresql_statement(may_be_written: str, is_batch: bool) -> str:
    # One parameter for any number of rows: orjson writes it much faster than the driver writes
    # arrays, and `json` columns keep their part of the text verbatim.
    if is_batch:
        # PostgreSQL looks up every column in every row's object: those that all rows share are read
        # once.
        rows = f"""(
            SELECT * FROM json_to_record(%(shared)s::json) AS shared({_definitions(SHARED)}),
                json_to_recordset(%(document)s::json) AS own({_definitions(OWN)})
        ) AS incoming"""  # noqa: S608 -- names of our own columns
    else:
        every = _definitions(("key", "password_md5", *NAMES))
        rows = f"json_to_recordset(%(document)s::json) AS incoming({every})"
    # Subqueries rather than joins: they run once per statement, not once per row. So does the one
    # that looks up the sequence.
    return f"""
        WITH incoming AS MATERIALIZED (
            SELECT incoming.*,
                nextval((SELECT pg_get_serial_sequence('{TABLE}', 'id')::regclass)) AS id
            FROM {rows}
            WHERE {may_be_written}
        ), written AS (
            INSERT INTO {TABLE} (id, {COLUMNS}) SELECT id, {COLUMNS} FROM incoming
        )
        SELECT key, id FROM incoming
    """  # noqa: S608 -- names of our own tables and columns


def _definitions(names: Sequence[str]) -> str:
    """The columns with their types, as the functions that read JSON need them."""
    types = {field.attname: field.db_type(connection) for field in FIELDS}
    types |= {"key": "integer", "password_md5": "text"}
    return ", ".join(f"{name} {types[name]}" for name in names)


@cache
def _sqlite_statement(is_open: bool) -> str:
    may_be_written = guards.condition(
        "= incoming.model_id", "= incoming.user_id", "= incoming.api_key_id", is_open=is_open
    )
    return f"""
        WITH incoming(password_md5, {COLUMNS})
            AS (VALUES (%s, {", ".join(["%s"] * len(FIELDS))}))
        INSERT INTO {TABLE} ({COLUMNS}) SELECT {COLUMNS} FROM incoming
        WHERE {may_be_written} RETURNING id
    """  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(records: Sequence[Record]) -> list[statements.Row]:
    written: list[statements.Row] = []
    statement = _sqlite_statement(guards.is_open())
    with transaction.atomic():
        for record in records:
            values = [
                column.get_db_prep_save(getattr(record, name), connection=connection)
                for name, column in zip(NAMES, FIELDS, strict=True)
            ]
            rows = statements.fetch(statement, [record.password_md5, *values])
            written += [(record.key, pk) for (pk,) in rows]
    return written
