"""The kinds of requests that callers send, and what each acknowledges.

Every row has a last feature of its own, its marker, so that a recorded row can be traced to the
request that it came from.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.service import BATCH, PREDICTIONS

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}

Row = Sequence[float]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A row that a response reported as recorded; `answer` is None if the response has none."""

    prediction_id: int
    marker: float
    answer: tuple[float | None, float | None] | None


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


@dataclass(frozen=True, slots=True)
class Kind:
    """`build` makes a request of rows for a model, `read` finds what its response acknowledges."""

    name: str
    n_rows: int
    build: Callable[[int, str, Sequence[Row]], Request]
    read: Callable[[bytes, Sequence[Row]], list[Acknowledged]]
    is_keyed: bool = False


def _features(row: Row) -> dict[str, object]:
    return {"features": list(row)}


def _post(path: str, value: object) -> Request:
    return Request(path, json.dumps(value).encode())


def _by_id(model_id: int, name: str, rows: Sequence[Row]) -> Request:
    return _post(PREDICTIONS, {"model_id": model_id, "input_data": _features(rows[0])})


def _by_alias(model_id: int, name: str, rows: Sequence[Row]) -> Request:
    return _post(PREDICTIONS, {"model": f"{name}@champion", "input_data": _features(rows[0])})


def _batch(model_id: int, name: str, rows: Sequence[Row]) -> Request:
    return _post(BATCH, {"model_id": model_id, "inputs": [_features(row) for row in rows]})


def _ndjson(model_id: int, name: str, rows: Sequence[Row]) -> Request:
    lines = "".join(json.dumps(_features(row)) + "\n" for row in rows)
    return Request(f"{BATCH}?model={name}", lines.encode(), NDJSON)


def _infer(model_id: int, name: str, rows: Sequence[Row]) -> Request:
    tensor = {
        "name": "input",
        "shape": [len(rows), len(rows[0])],
        "datatype": "FP64",
        "data": [list(row) for row in rows],
    }
    return _post(f"/v2/models/{name}/infer", {"inputs": [tensor]})


def _read_one(body: bytes, rows: Sequence[Row]) -> list[Acknowledged]:
    return [_acknowledged(json.loads(body), rows[0])]


def _read_batch(body: bytes, rows: Sequence[Row]) -> list[Acknowledged]:
    results = json.loads(body)
    predictions = results["predictions"] if isinstance(results, dict) else results
    return [_acknowledged(result, row) for result, row in zip(predictions, rows, strict=True)]


def _read_lines(body: bytes, rows: Sequence[Row]) -> list[Acknowledged]:
    """A cut-off response still acknowledges its complete lines."""
    acknowledged = []
    for line in body.split(b"\n")[:-1]:
        result = json.loads(line)
        if "id" in result:
            acknowledged.append(_acknowledged(result, rows[result["line"] - 1]))
    return acknowledged


def _read_infer(body: bytes, rows: Sequence[Row]) -> list[Acknowledged]:
    ids = json.loads(json.loads(body)["parameters"]["prediction_ids"])
    return [Acknowledged(i, row[-1], None) for i, row in zip(ids, rows, strict=True)]


def _acknowledged(result: Mapping[str, Any], row: Row) -> Acknowledged:
    return Acknowledged(result["id"], row[-1], (result["prediction"], result["confidence"]))


PREDICT = Kind("predict by id", 1, _by_id, _read_one)
ALIAS = Kind("predict by alias", 1, _by_alias, _read_one)
KEYED = Kind("predict with a key", 1, _by_id, _read_one, is_keyed=True)
JSON_BATCH = Kind("batch", 10, _batch, _read_batch)
STREAM = Kind("NDJSON", 20, _ndjson, _read_lines)
INFER = Kind("/v2 infer", 3, _infer, _read_infer)

# One client for each: most requests of a service are single predictions.
MIX = [
    PREDICT,
    ALIAS,
    INFER,
    KEYED,
    JSON_BATCH,
    PREDICT,
    ALIAS,
    KEYED,
    STREAM,
    PREDICT,
    ALIAS,
    INFER,
]
