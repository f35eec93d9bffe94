"""Asks a model that was loaded from a pickle, as its own library is used. No Django here.

Independent of the runtimes, whose answers are compared with these.
"""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from registry.artifacts.errors import ArtifactRejected
from registry.runtimes.base import Outputs
from registry.signatures.signature import Output, Signature

Model: TypeAlias = Any
"""A fitted estimator or a Booster; the libraries have no type information."""
Arrays: TypeAlias = Mapping[str, np.ndarray]


def expected_outputs(
    model: Model, signature: Signature, arrays: Arrays
) -> tuple[Signature, Outputs]:
    """The model's own answers to arranged rows, as outputs of the signature.

    The signature that is returned lacks labels where the model itself gives only probabilities, as
    a Booster does. Raises ArtifactRejected if the model fails, or gives other outputs.
    """
    try:
        if hasattr(model, "predict_proba") or hasattr(model, "get_params"):
            return signature, _estimator_outputs(model, signature, arrays)
        return _booster_outputs(model, signature, arrays)
    except ArtifactRejected:
        raise
    # A model may raise anything.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ArtifactRejected(
            f"The model in the pickle failed on the rows: {reason.splitlines()[0][:300]}. Send"
            " example rows that it accepts.",
            field="example",
        ) from error


# -- estimators


def _estimator_outputs(model: Model, signature: Signature, arrays: Arrays) -> Outputs:
    rows = _rows(model, signature, arrays)
    is_predictor = hasattr(model, "predict")
    predicted = _dense((model.predict if is_predictor else model.transform)(rows))
    labels = [output for output in signature.outputs if output.kind == "label"]
    probabilities = [output for output in signature.outputs if output.kind == "probabilities"]
    values = [output for output in signature.outputs if output.kind == "value"]
    outputs = _value_outputs(predicted, values) if values else {}
    if labels:
        columns = predicted.reshape(len(predicted), -1)
        for i, output in enumerate(labels):
            outputs[output.name] = _indices(output, columns[:, i])
    if probabilities:
        outputs |= _probability_outputs(model.predict_proba(rows), probabilities)
    return outputs


def _rows(model: Model, signature: Signature, arrays: Arrays) -> object:
    """The rows in the form in which the model was trained."""
    inputs = signature.inputs
    if _is_booster(model) and len(inputs) == 1:
        return arrays[inputs[0].name]
    if hasattr(model, "feature_names_in_") or (_is_booster(model) and len(inputs) > 1):
        columns: dict[str, np.ndarray] = {}
        for tensor in inputs:
            array = arrays[tensor.name]
            if tensor.is_scalar:
                columns[tensor.name] = array
            else:
                columns |= {
                    str(name): array[:, i] for i, name in enumerate(model.feature_names_in_)
                }
        return _table(columns, _is_booster(model))
    if len(inputs) == 1:
        return arrays[inputs[0].name]
    rows = np.empty((len(arrays[inputs[0].name]), len(inputs)), dtype=object)
    for i, tensor in enumerate(inputs):
        rows[:, i] = _missing_as_nan(arrays[tensor.name])
    return rows


def _table(columns: Mapping[str, np.ndarray], has_categories: bool) -> object:
    """A data frame, or a pyarrow.Table if pandas is not installed."""
    if importlib.util.find_spec("pandas") is None:
        if has_categories:
            raise ArtifactRejected("The model takes a data frame: pip install pandas.")
        return importlib.import_module("pyarrow").table(dict(columns))
    frame = importlib.import_module("pandas").DataFrame(
        {name: _missing_as_nan(column) for name, column in columns.items()}
    )
    if has_categories:
        for name, column in columns.items():
            if column.dtype == object:
                frame[name] = frame[name].astype("category")
    return frame


def _missing_as_nan(column: np.ndarray) -> np.ndarray:
    if column.dtype != object:
        return column
    return np.array([np.nan if value is None else value for value in column], dtype=object)


def _dense(result: Any) -> np.ndarray:
    return np.asarray(result.toarray() if hasattr(result, "toarray") else result)


# -- boosters


def _is_booster(model: Model) -> bool:
    return type(model).__module__.partition(".")[0] in ("xgboost", "lightgbm", "catboost")


def _booster_outputs(
    model: Model, signature: Signature, arrays: Arrays
) -> tuple[Signature, Outputs]:
    features = arrays[signature.inputs[0].name]
    if type(model).__module__.startswith("xgboost."):
        best = model.attr("best_iteration")
        rows = importlib.import_module("xgboost").DMatrix(
            features, feature_names=model.feature_names, feature_types=model.feature_types
        )
        predicted = model.predict(
            rows, iteration_range=(0, 0) if best is None else (0, int(best) + 1)
        )
    else:
        predicted = model.predict(features)
    predicted = np.asarray(predicted)
    probabilities = [output for output in signature.outputs if output.kind == "probabilities"]
    values = [output for output in signature.outputs if output.kind == "value"]
    if values:
        return signature, _value_outputs(predicted, values)
    if not probabilities:
        return signature, {signature.outputs[0].name: _indices(signature.outputs[0], predicted)}
    without_labels = replace(signature, outputs=tuple(probabilities))
    return without_labels, _probability_outputs(_both_classes(predicted), probabilities)


def _both_classes(positive: np.ndarray) -> np.ndarray:
    return np.stack([1 - positive, positive], axis=1) if positive.ndim == 1 else positive


# -- outputs


def _value_outputs(predicted: np.ndarray, values: Sequence[Output]) -> Outputs:
    if len(values) == 1:
        return {values[0].name: predicted}
    return {output.name: predicted[:, i] for i, output in enumerate(values)}


def _probability_outputs(result: Any, outputs: Sequence[Output]) -> Outputs:
    """From the forms of predict_proba: an array, a list of them, or (n, targets) of one class."""
    if isinstance(result, list):
        arrays = [np.asarray(array) for array in result]
    elif len(outputs) == 1:
        arrays = [np.asarray(result)]
    else:
        arrays = [_both_classes(column) for column in np.asarray(result).T]
    return {output.name: array for output, array in zip(outputs, arrays, strict=True)}


def _indices(output: Output, labels: np.ndarray) -> np.ndarray:
    """The index of each label in the output's classes, -1 for one that it does not have."""
    positions: dict[object, int] = {label: i for i, label in enumerate(output.classes)}
    return np.array([positions.get(label, -1) for label in labels.tolist()])
