"""The results of a replay: how they are built, and the statement that inserts them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

import orjson
from django.db import connection

from predictions.evaluation.agreement import compare
from predictions.evaluation.replays.plan import RecordedRow
from predictions.models import Prediction, Replay, ReplayResult
from predictions.serving.answers import Answer
from predictions.serving.records import storable_reason
from registry.database import statements
from registry.signatures.validation import InvalidInput

Status = ReplayResult.Status


@dataclass(slots=True)
class Result:
    """A row of ReplayResult to be inserted.

    Creating an instance of the model takes ten times as long, and a replay has a result for every
    prediction.
    """

    original_id: int
    status: str = Status.COMPARED.value
    prediction: float | None = None
    confidence: float | None = None
    output: object = None
    error: str = ""
    difference: float | None = None
    distance: float = 0.0
    agrees: bool = False


def result_of(row: RecordedRow, answer: Answer, tolerance: float | None) -> Result:
    """The new answer to a recorded row, compared with the recorded answer."""
    result = Result(row.id)
    if answer.error is not None:
        is_refused = isinstance(answer.error, InvalidInput)
        result.status = (Status.REFUSED if is_refused else Status.FAILED).value
        result.error = storable_reason(answer.error)
        return result
    result.prediction, result.confidence = answer.prediction, answer.confidence
    result.output = answer.output
    comparison = compare(row, answer, tolerance)
    if comparison is None:
        result.status = Status.INCOMPARABLE.value
        result.error = "One answer is a number, the other a label or several outputs."
        return result
    result.agrees, result.difference = comparison.agrees, comparison.difference
    result.distance = comparison.distance
    return result


NAMES = [field.name for field in fields(Result)]
COLUMNS = ", ".join(NAMES)
TABLE = ReplayResult._meta.db_table
PREDICTIONS = Prediction._meta.db_table


def insert(replay: Replay, results: Sequence[Result]) -> None:
    """Insert results in the open transaction.

    Results whose prediction has been deleted are skipped by the statement itself, which also keeps
    the other predictions from being deleted before it commits.
    """
    if connection.vendor == "sqlite":
        _insert_sqlite(replay, results)
    else:
        _insert_postgresql(replay, results)


@cache
def _postgresql_statement() -> str:
    # One JSON document, as the recorder sends it. Locks are taken oldest first, in the same order
    # as retention takes them, to avoid deadlocks.
    columns = {field.attname: field for field in ReplayResult._meta.concrete_fields}
    definitions = ", ".join(f"{name} {columns[name].db_type(connection)}" for name in NAMES)
    return f"""
        WITH incoming AS MATERIALIZED (
            SELECT * FROM json_to_recordset(%(results)s::json) AS incoming({definitions})
        ), kept AS MATERIALIZED (
            SELECT id FROM {PREDICTIONS} WHERE id IN (SELECT original_id FROM incoming)
            ORDER BY created_at, id FOR KEY SHARE
        )
        INSERT INTO {TABLE} (replay_id, {COLUMNS})
        SELECT %(replay)s, {", ".join(f"incoming.{name}" for name in NAMES)}
        FROM incoming JOIN kept ON kept.id = incoming.original_id
    """  # noqa: S608 -- names of our own tables and columns


def _insert_postgresql(replay: Replay, results: Sequence[Result]) -> None:
    values = {"replay": replay.pk, "results": orjson.dumps(results).decode()}
    statements.fetch(_postgresql_statement(), values)


SQLITE_STATEMENT = f"""
    INSERT INTO {TABLE} (replay_id, {COLUMNS}) SELECT {", ".join(["%s"] * (1 + len(NAMES)))}
    WHERE EXISTS (SELECT 1 FROM {PREDICTIONS} WHERE id = %s)
"""  # noqa: S608 -- names of our own tables and columns


def _insert_sqlite(replay: Replay, results: Sequence[Result]) -> None:
    rows = (
        {
            **{name: getattr(row, name) for name in NAMES},
            "output": None if row.output is None else orjson.dumps(row.output).decode(),
        }
        for row in results
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            SQLITE_STATEMENT, [[replay.pk, *row.values(), row["original_id"]] for row in rows]
        )
