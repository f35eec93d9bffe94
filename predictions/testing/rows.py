"""Predictions with outcomes, made up at random, and what they are as arrays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from predictions.models import Outcome, Prediction
from registry.models import ModelVersion

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def classifier_signature(classes: Sequence[Any]) -> dict[str, Any]:
    label = {"name": "label", "datatype": "BYTES", "shape": [-1], "kind": "label"}
    probabilities = {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(classes)]}
    return {
        "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1]}],
        "outputs": [
            {**label, "classes": list(classes)},
            {**probabilities, "kind": "probabilities"},
        ],
    }


REGRESSOR_SIGNATURE: dict[str, Any] = {
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1], "kind": "value"}],
}
# Two answers a row, none of which is the outcome's.
PAIR_SIGNATURE = {
    **REGRESSOR_SIGNATURE,
    "outputs": [{**REGRESSOR_SIGNATURE["outputs"][0], "name": name} for name in ("y", "z")],
}


def make_version(signature: dict[str, Any] | None, name: str = "m") -> ModelVersion:
    """A version without a file on disk: nothing here loads one."""
    file: dict[str, Any] = {}
    if signature is not None:
        file = {"artifact": "a", "sha256": "b", "size_bytes": 1, "signature": signature}
    return ModelVersion.objects.create(name=name, version="1", framework="sklearn", **file)


def classified(
    version: ModelVersion, classes: Sequence[Any], probabilities: np.ndarray, **fields: Any
) -> list[Prediction]:
    """A row a minute, as a classifier with these probabilities answers."""
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


def estimated(version: ModelVersion, values: Sequence[float], **fields: Any) -> list[Prediction]:
    """A row a minute, as a regressor with these values answers."""
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


def labelled(rows: Sequence[Prediction], labels: Sequence[Any]) -> None:
    Outcome.objects.bulk_create(
        (Outcome(prediction=row, label=label) for row, label in zip(rows, labels, strict=True)),
        batch_size=2000,
    )


def measured(rows: Sequence[Prediction], values: Sequence[float]) -> None:
    Outcome.objects.bulk_create(
        (Outcome(prediction=row, value=value) for row, value in zip(rows, values, strict=True)),
        batch_size=2000,
    )
