"""Predictions and outcomes of versions that have a signature but no file."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictions.models import Outcome, Prediction
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelVersion, RegisteredModel

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def classifier_signature(classes: Sequence[Any]) -> JSONObject:
    label = {"name": "label", "datatype": "BYTES", "shape": [-1], "kind": "label"}
    probabilities = {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(classes)]}
    return {
        "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1]}],
        "outputs": [
            {**label, "classes": list(classes)},
            {**probabilities, "kind": "probabilities"},
        ],
    }


REGRESSOR_SIGNATURE: JSONObject = {
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1], "kind": "value"}],
}
# Two outputs per row; an outcome could be of either.
TWO_OUTPUT_SIGNATURE = {
    **REGRESSOR_SIGNATURE,
    "outputs": [{**REGRESSOR_SIGNATURE["outputs"][0], "name": name} for name in ("y", "z")],
}


def make_version(signature: JSONObject | None, name: str = "m") -> ModelVersion:
    """A version whose file does not exist; tests with it never load a model."""
    file: JSONObject = {}
    if signature is not None:
        file = {"artifact": "a", "sha256": "b", "size_bytes": 1, "signature": signature}
    return ModelVersion.objects.create(name=name, version="1", framework="sklearn", **file)


def make_alias(version: ModelVersion, **fields: Any) -> Alias:
    """The alias wine@live of versions that may have any names."""
    RegisteredModel.objects.get_or_create(name="wine")
    return Alias.objects.create(name="wine", alias="live", version=version, **fields)


def create_classifications(
    version: ModelVersion,
    classes: Sequence[Any],
    probabilities: NDArray[np.float64],
    **fields: Any,
) -> list[Prediction]:
    """Predictions with the most probable class as answer, one minute apart."""
    indices = probabilities.argmax(axis=1).tolist()
    names = [str(label) for label in classes]
    return Prediction.objects.bulk_create(
        (
            Prediction(
                **{
                    "model": version,
                    "input_data": {"x": i},
                    "prediction": float(index),
                    "confidence": row[index],
                    "output": {
                        "label": classes[index],
                        "probabilities": dict(zip(names, row, strict=True)),
                    },
                    "created_at": NOON + timedelta(minutes=i),
                    **fields,
                }
            )
            for i, (index, row) in enumerate(zip(indices, probabilities.tolist(), strict=True))
        ),
        batch_size=2000,
    )


def create_predictions(
    version: ModelVersion, values: Sequence[float], **fields: Any
) -> list[Prediction]:
    """Predictions with these values (or class indices) as answers, one minute apart."""
    return Prediction.objects.bulk_create(
        (
            Prediction(
                **{
                    "model": version,
                    "input_data": {"x": i},
                    "prediction": value,
                    "created_at": NOON + timedelta(minutes=i),
                    **fields,
                }
            )
            for i, value in enumerate(values)
        ),
        batch_size=2000,
    )


def wait_until_followable() -> None:
    """Wait until every committed row can be exported and followed.

    Transactions of other tests on the same server, which are open, hold rows back.
    """
    deadline = time.monotonic() + 60
    while Prediction.objects.count() != Prediction.objects.in_commit_order().count():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def add_labels(rows: Sequence[Prediction], labels: Sequence[Any]) -> None:
    """Record a true label for each prediction."""
    Outcome.objects.bulk_create(
        (Outcome(prediction=row, label=label) for row, label in zip(rows, labels, strict=True)),
        batch_size=2000,
    )


def add_values(rows: Sequence[Prediction], values: Sequence[float]) -> None:
    """Record a true value for each prediction."""
    Outcome.objects.bulk_create(
        (Outcome(prediction=row, value=value) for row, value in zip(rows, values, strict=True)),
        batch_size=2000,
    )
