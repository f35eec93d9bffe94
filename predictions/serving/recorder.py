"""Predictions in, committed rows out: the only statement that writes to the prediction log."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import prometheus_client
from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, connection, models, transaction
from django.utils import timezone

from predictions.metrics import PREDICTIONS, RECORDING_SECONDS
from predictions.models import MAX_ERROR_LENGTH, Prediction
from predictions.serving import idempotency
from predictions.serving.idempotency import AlreadyAnswered, Claim
from registry import statements
from registry.exact_json.values import JSONObject
from registry.models import ModelNotFound, ModelVersion
from registry.runtimes.base import RuntimeUnavailable

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


class CallerInactive(Exception):
    """The caller's user is no longer active, or the token no longer good; says so to the caller."""


@dataclass(slots=True, eq=False)
class Record:
    """A row of the log on its way there; None is null.

    Its fields bear the names of the columns: orjson writes a record as the object that the
    statement reads. Of those that are no columns, `password_md5` is what the caller's token claims
    of the password it was issued under (None where no token was shown: commands), `key` is the
    statement's own, and `_version` is what orjson leaves out.
    """

    _version: ModelVersion
    input_data: Any
    metadata: JSONObject | None = None
    request_id: str = ""
    user_id: int | None = None
    password_md5: str | None = None
    reference: str | None = None
    subject: str | None = None
    alias: str | None = None
    arm: str | None = None
    primary_id: int | None = None
    prediction: float | None = None
    confidence: float | None = None
    output: Any = None
    status: str = Prediction.Status.SUCCEEDED.value
    error: str = ""
    latency_ms: float | None = None
    created_at: datetime = field(default_factory=timezone.now)
    _claim: Claim | None = None
    # Seconds after which a model that could not be asked may be asked again.
    _retry_after: int | None = None
    model_id: int = field(init=False)
    key: int = field(init=False, default=0)
    # Of the committed row.
    pk: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.model_id = self._version.pk

    @property
    def model(self) -> ModelVersion:
        return self._version

    @property
    def claim(self) -> Claim | None:
        return self._claim

    @property
    def retry_after(self) -> int | None:
        return self._retry_after

    def complete(self, prediction: float | None, confidence: float | None, output: Any) -> None:
        """Take the model's answer."""
        self.prediction, self.confidence, self.output = prediction, confidence, output

    def fail(self, error: Exception) -> None:
        """Take the reason why the model did not answer."""
        self.status = Prediction.Status.FAILED.value
        # PostgreSQL stores no NUL, and a library may quote any byte of its input.
        reason = str(error).replace("\0", "") or type(error).__name__
        self.error = reason.encode(errors="replace").decode()[:MAX_ERROR_LENGTH]
        if isinstance(error, RuntimeUnavailable):
            self._retry_after = error.retry_after


def record(records: Sequence[Record]) -> list[Record | Exception]:
    """Insert rows in one transaction; the records that come back are committed and have their pk.

    The others come back as the reason: ModelNotFound or CallerInactive. Rows of one statement that
    the database refuses are tried again one by one. Raises OperationalError or InterfaceError where
    the outcome is unknown, and then tries nothing again.
    """
    return _record(records, _write)


def record_once(records: Sequence[Record]) -> list[Record | Exception]:
    """As `record`; a record whose claim another request has made comes back as AlreadyAnswered."""
    return _record(records, _write_once)


def _record(
    records: Sequence[Record],
    write: Callable[[Sequence[Record]], list[Record | Exception]],
) -> list[Record | Exception]:
    try:
        with RECORDING_SECONDS.time():
            outcomes = write(records)
    except (DataError, IntegrityError) as error:
        if len(records) > 1:
            logger.warning("A batch of %d rows was refused: %s", len(records), error)
            return [outcome for one in records for outcome in _record([one], write)]
        return [error if _is_wanted(records[0]) else _refusal(records[0])]
    _count(records)
    return outcomes


def _write(records: Sequence[Record]) -> list[Record | Exception]:
    missing = _insert(records)
    return [_refusal(one) if one.key in missing else one for one in records]


def _write_once(records: Sequence[Record]) -> list[Record | Exception]:
    """Keys first, then the rows of those who got theirs, and of the failed, who need none."""
    first = {one.claim: one for one in reversed(records) if one.claim and not one.error}
    with transaction.atomic():
        taken = idempotency.take(list(first))
        wanted = [
            one
            for one in records
            if one.error or not one.claim or (one.claim in taken and first[one.claim] is one)
        ]
        _insert(wanted)
        refused = {claim for claim in taken if not first[claim].pk}
        idempotency.keep({taken[claim]: [first[claim].pk] for claim in taken.keys() - refused})
        idempotency.free(taken[claim] for claim in refused)
    written = {id(one) for one in wanted}

    def outcome(one: Record) -> Record | Exception:
        if id(one) in written:
            return one if one.pk else _refusal(one)
        # Beside one with the same claim that was refused, for the same reason.
        return _refusal(one) if one.claim in refused else AlreadyAnswered()

    return [outcome(one) for one in records]


def record_all(records: Sequence[Record], claim: Claim | None = None) -> None:
    """Insert rows in one transaction, all of them or none, and give each its pk.

    Raises ModelNotFound, CallerInactive or, where another request has made the claim,
    AlreadyAnswered, and what the database raises.
    """
    with transaction.atomic(), RECORDING_SECONDS.time():
        taken = idempotency.take([claim]) if claim else {}
        if claim and not taken:
            raise AlreadyAnswered
        if missing := _insert(records):
            raise _refusal(records[min(missing)])
        idempotency.keep({pk: [one.pk for one in records] for pk in taken.values()})
    _count(records)


def _count(records: Sequence[Record]) -> None:
    for (version, status), n in Counter(
        (one.model, one.status) for one in records if one.pk
    ).items():
        _counter(str(version), status).inc(n)


@cache
def _counter(model: str, status: str) -> prometheus_client.Counter:
    # Looking one up by its labels takes longer than counting.
    return PREDICTIONS.labels(model, status)


def _refusal(refused: Record) -> Exception:
    """Why the guards refused a row, as far as it can still be seen."""
    if refused.user_id is not None and _is_wanted(refused):
        return CallerInactive("User is inactive, or the token was revoked")
    return ModelNotFound(f"Model {refused.model_id} not found or inactive")


def _is_wanted(refused: Record) -> bool:
    return ModelVersion.objects.active().filter(pk=refused.model_id).exists()


# -- the statement --------------------------------------------------------------------------------


def _insert(records: Sequence[Record]) -> set[int]:
    """Commit rows, and give those that pass the guards their pk; the keys of those that do not.

    The key, a record's place, travels through the statement and back: nothing promises that
    RETURNING keeps the order of what was inserted.
    """
    for key, one in enumerate(records):
        one.key, one.pk = key, 0
    insert = _insert_sqlite if connection.vendor == "sqlite" else _insert_postgresql
    written = insert(records)
    for key, pk in written:
        records[key].pk = pk
    return set() if len(written) == len(records) else {r.key for r in records if not r.pk}


def _guards(versions: str, users: str) -> str:
    """The condition for a row to be written; the arguments narrow the ids that are looked at.

    Rows whose version or user is not active, or whose token was issued under an older password,
    drop out in the statement itself: it sees whatever was committed before it began, so that no
    request sent after a deactivation was answered gets a 201. MD5 is simplejwt's, as a name of the
    password's hash (its CHECK_REVOKE_TOKEN), and keeps nothing secret.
    """
    return f"""
        given.model_id IN (SELECT id FROM {VERSIONS} WHERE is_active AND id {versions}) AND (
            given.user_id IS NULL
            OR given.password_md5 IS NULL
                AND given.user_id IN (SELECT id FROM {USERS} WHERE is_active AND id {users})
            OR (given.user_id, given.password_md5) IN (
                SELECT id, upper(md5(password)) FROM {USERS} WHERE is_active AND id {users}
            )
        )
    """  # noqa: S608 -- names of our own tables


@cache
def _postgresql_statement() -> str:
    # One parameter whatever the number of rows: orjson writes it far quicker than the driver writes
    # arrays, and `json` columns keep their part of the text verbatim.
    given = ", ".join(f"{field.attname} {field.db_type(connection)}" for field in FIELDS)
    # Not joined: asked once a statement, not once a row.
    guards = _guards("= ANY(%(versions)s)", "= ANY(%(users)s)")
    return f"""
        WITH given AS MATERIALIZED (
            SELECT given.*, nextval(pg_get_serial_sequence('{TABLE}', 'id')) AS id
            FROM json_to_recordset(%(document)s::json)
                AS given(key integer, password_md5 text, {given})
            WHERE {guards}
        ), written AS (
            INSERT INTO {TABLE} (id, {COLUMNS}) SELECT id, {COLUMNS} FROM given
        )
        SELECT key, id FROM given
    """  # noqa: S608 -- names of our own tables and columns


def _insert_postgresql(records: Sequence[Record]) -> list[statements.Row]:
    values = {
        "document": orjson.dumps(records).decode(),
        "versions": list({one.model_id for one in records}),
        "users": list({one.user_id for one in records}),
    }
    # Outside a transaction the rows come back after the commit.
    return statements.fetch(_postgresql_statement(), values)


SQLITE_STATEMENT = f"""
    WITH given(password_md5, {COLUMNS}) AS (VALUES (%s, {", ".join(["%s"] * len(FIELDS))}))
    INSERT INTO {TABLE} ({COLUMNS}) SELECT {COLUMNS} FROM given
    WHERE {_guards("= given.model_id", "= given.user_id")} RETURNING id
"""  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(records: Sequence[Record]) -> list[statements.Row]:
    written: list[statements.Row] = []
    with transaction.atomic():
        for one in records:
            values = [
                column.get_db_prep_save(getattr(one, name), connection=connection)
                for name, column in zip(NAMES, FIELDS, strict=True)
            ]
            rows = statements.fetch(SQLITE_STATEMENT, [one.password_md5, *values])
            written += [(one.key, pk) for (pk,) in rows]
    return written
