"""Reads the rows of an export, in chunks by key and in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.contrib.auth import get_user_model

from predictions.export.columns import (
    INPUT_JSON,
    OUTCOME_COLUMNS,
    RECORDED_COLUMNS,
    Column,
    Inputs,
)
from predictions.export.inputs import InputReader
from predictions.export.selection import Key, Selection
from predictions.models import Outcome
from predictions.models.predictions import PredictionQuerySet
from registry.database.statements import Row, stream
from registry.models import ModelVersion
from registry.signatures.signature import Signature

# Rows of one statement. It also bounds how much is read for nothing at the end of a part.
CHUNK_ROWS = 10_000
# Inputs may be large: a chunk that has this much text is handed on before it is full.
CHUNK_BYTES = 16 * 2**20

# Columns of the table. JSON stays the text it is.
NAMES = [
    "id",
    "created_at",
    "model_id",
    "status",
    "prediction",
    "confidence",
    "output",
    "flags",
    "error",
    "latency_ms",
    "metadata",
    "request_id",
    "reference",
    "subject",
    "alias",
    "arm",
    "primary_id",
    "user_id",
    "input_data",
]
TEXTS = [NAMES.index(name) for name in ("input_data", "output", "flags", "metadata")]


@dataclass(slots=True)
class Chunk:
    """Some rows of an export, by column: in the order of its columns, all of the same length."""

    columns: Sequence[Sequence[Any]]
    last: Key

    def __len__(self) -> int:
        return len(self.columns[0])


@dataclass(slots=True)
class ExportReader:
    """Reads the rows of a selection as the columns of an export."""

    selection: Selection
    columns: Sequence[Column]
    inputs: Inputs
    _versions: dict[int, ModelVersion] = field(init=False)
    _users: dict[int | None, str | None] = field(init=False, default_factory=lambda: {None: None})
    _input_reader: InputReader = field(init=False)

    def __post_init__(self) -> None:
        self._versions = {version.pk: version for version in self.selection.versions()}
        signatures = {} if self.inputs == "json" else signatures_of(self._versions.values())
        self._input_reader = InputReader(signatures, self.columns)

    def read(self, after: Key | None, limit: int) -> Iterator[Chunk]:
        """At most `limit` rows that follow the key."""
        size = CHUNK_ROWS
        while limit:
            size = min(limit, size)
            rows, is_cut = _fetch(self.selection.after(after)[:size])
            if rows:
                chunk = self._chunk(rows)
                limit, after = limit - len(rows), chunk.last
                yield chunk
            if len(rows) < size and not is_cut:
                return
            # What follows large rows is probably as large.
            size = len(rows) if is_cut else min(2 * size, CHUNK_ROWS)

    def _chunk(self, rows: Sequence[Row]) -> Chunk:
        values: dict[str, Sequence[Any]] = dict(zip(NAMES, zip(*rows, strict=True), strict=True))
        texts = values[INPUT_JSON]
        versions = [self._versions[model_id] for model_id in values["model_id"]]
        values["model"] = [version.name for version in versions]
        values["version"] = [version.version for version in versions]
        values["user"] = self._names_of(values["user_id"])
        values |= _outcomes(values["id"])
        input_values, fits = self._input_reader.read(values["model_id"], texts)
        if self.inputs == "columns":
            values[INPUT_JSON] = [
                None if fit else text for text, fit in zip(texts, fits, strict=True)
            ]
        recorded = [*RECORDED_COLUMNS, *OUTCOME_COLUMNS]
        return Chunk(
            [*(values[column.name] for column in recorded), values[INPUT_JSON], *input_values],
            Key(values["created_at"][-1], values["id"][-1]),
        )

    def _names_of(self, user_ids: Sequence[int | None]) -> list[str | None]:
        if unknown := {pk for pk in user_ids if pk is not None} - self._users.keys():
            users = get_user_model()._default_manager.filter(pk__in=unknown)
            self._users |= {user.pk: user.get_username() for user in users}
        return [self._users.get(user_id) for user_id in user_ids]


def signatures_of(versions: Iterable[ModelVersion]) -> dict[int, Signature]:
    """The signatures of those versions that have one, by the version's id."""
    return {
        version.pk: Signature.from_json(version.signature)
        for version in versions
        if version.signature is not None
    }


def _outcomes(prediction_ids: Sequence[int]) -> dict[str, list[Any]]:
    """The latest outcome of each prediction, by column."""
    rows = Outcome.objects.filter(prediction__in=prediction_ids).order_by("pk")
    # Later ones replace the earlier: they are corrections. Labels stay JSON.
    outcomes = {
        prediction_id: (value, None if label is None else orjson.dumps(label).decode(), observed_at)
        for prediction_id, value, label, observed_at in rows.values_list(
            "prediction_id", "value", "label", "observed_at"
        )
    }
    found = [outcomes.get(prediction_id, (None,) * 3) for prediction_id in prediction_ids]
    columns = zip(*found, strict=True)
    return {
        column.name: list(values) for column, values in zip(OUTCOME_COLUMNS, columns, strict=True)
    }


# -- the statement


def _fetch(rows: PredictionQuerySet) -> tuple[list[Row], bool]:
    """The rows, and whether there are more of them than CHUNK_BYTES of text."""
    fetched, size_bytes = [], 0
    with closing(stream(rows, NAMES)) as remaining:
        for row in remaining:
            fetched.append(row)
            size_bytes += sum(len(row[place] or "") for place in TEXTS)
            if size_bytes >= CHUNK_BYTES:
                return fetched, True
    return fetched, False
