"""Models that are functions, and tables for them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from predictions.scoring.models import TableModel
from registry.runtimes.base import InferenceError, Outputs
from registry.signatures.signature import Signature

Predict = Callable[[Mapping[str, np.ndarray]], Outputs]
VALUE = {"name": "value", "datatype": "FP32", "shape": [-1]}
CLASSES = [
    {"name": "label", "datatype": "BYTES", "shape": [-1], "classes": ["no", "yes"]},
    {"name": "chances", "datatype": "FP32", "shape": [-1, 2], "kind": "probabilities"}
    | {"classes": ["no", "yes"]},
]


class FakeRuntime:
    """Answers with a function; `calls` are the numbers of rows of its calls."""

    libraries: Mapping[str, str] = {}

    def __init__(self, signature: Signature, predict: Predict) -> None:
        self.signature, self._predict = signature, predict
        self.calls: list[int] = []

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        self.calls.append(len(next(iter(inputs.values()))))
        return self._predict(inputs)


def fake_model(
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
    predict: Predict,
    *,
    batching: str = "joined",
) -> TableModel:
    signature = Signature.from_json({"inputs": inputs, "outputs": outputs, "batching": batching})
    return TableModel("fake:1", signature, FakeRuntime(signature, predict))


def total(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """A number for each row that depends on each of its values."""
    sums = np.zeros(len(next(iter(inputs.values()))))
    for place, array in enumerate(inputs.values(), start=1):
        flat = array.reshape(len(array), -1)
        for column in range(flat.shape[1]):
            weight = place + column / 10
            values = flat[:, column]
            if values.dtype == object:
                numbers = [0.5 if v is None else float(len(str(v))) for v in values]
                sums += weight * np.array(numbers)
            else:
                sums += weight * np.nan_to_num(values.astype(np.float64), nan=0.25)
    return sums


def regression(inputs: Mapping[str, np.ndarray]) -> Outputs:
    """NaN above 1,000, and a failure of the whole call at exactly 999."""
    sums = total(inputs)
    if (sums == 999).any():
        raise InferenceError("999 is too much")
    return {"value": np.where(sums > 1000, np.nan, sums).astype(np.float32)}


def classification(inputs: Mapping[str, np.ndarray]) -> Outputs:
    chance = (1 / (1 + np.exp(-total(inputs)))).astype(np.float32)
    chances = np.stack([1 - chance, chance], axis=1)
    return {"label": chances.argmax(axis=1), "chances": chances}


def write_table(path: Path, columns: Mapping[str, Any], group_rows: int = 1000) -> Path:
    parquet.write_table(pa.table(dict(columns)), path, row_group_size=group_rows)
    return path
