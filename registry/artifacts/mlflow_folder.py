"""Reads model folders that MLflow saved, without MLflow: the `MLmodel` file and what it names.

The format is MLflow's `MLmodel` YAML, as written by its versions 1 to 3. No Django here.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.foreign.archives import describe_folder
from registry.artifacts.paths import path_below
from registry.exact_json.values import JSONObject

MLMODEL = "MLmodel"
MAX_MLMODEL_BYTES = 2**20
MAX_COLUMNS = 10_000
MAX_METRICS = 1000
# The tag of a version that records which MLflow model it came from.
MLFLOW_TAG = "mlflow"


@dataclass(frozen=True, slots=True)
class _Flavor:
    """How an MLflow flavor describes its model."""

    file_key: str
    library_version_key: str


# In order of preference, if a model has several.
_FLAVORS: Mapping[str, _Flavor] = {
    "sklearn": _Flavor("pickled_model", "sklearn_version"),
    "onnx": _Flavor("data", "onnx_version"),
    "xgboost": _Flavor("data", "xgb_version"),
    "lightgbm": _Flavor("data", "lgb_version"),
    "catboost": _Flavor("data", "catboost_version"),
}
_DATATYPES = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib", ".cloudpickle")


@dataclass(frozen=True, slots=True)
class MLflowModel:
    """A model folder: the model file, the declared signature, and metrics.

    The framework follows from the content of the file: a flavor may hold several formats. `origin`
    holds what is known about the MLflow version, the flavor, the model's class and the run.
    """

    path: Path
    signature: JSONObject | None
    metrics: dict[str, float] | None
    origin: dict[str, str]


def read_folder(folder: Path, *, with_signature: bool = True) -> MLflowModel:
    """Read a model folder; without `with_signature`, ignore its signature.

    If the model is a pickle, the skops file that `convert_pickle` wrote beside it takes its place.
    Raises ArtifactRejected if the folder holds no MLflow model, names a file outside itself, holds
    only a pickle, or has a flavor or signature that mlapi does not support.
    """
    body = _read_yaml(_resolve_file(folder, MLMODEL))
    flavors = _flavors(body)
    name, details = _select_flavor(flavors)
    flavor = _FLAVORS[name]
    path = _resolve_file(folder, details.get(flavor.file_key))
    if path.suffix in _PICKLE_SUFFIXES:
        path = _converted_pickle(folder, path)
    origin = {
        "version": body.get("mlflow_version"),
        "flavor": name,
        "library_version": details.get(flavor.library_version_key),
        "model_class": details.get("model_class"),
        "predict_fn": _other_predict_function(flavors),
        "run_id": body.get("run_id"),
        "model_id": body.get("model_id"),
    }
    return MLflowModel(
        path=path,
        signature=_declared_signature(body.get("signature")) if with_signature else None,
        metrics=_numeric_metrics(body.get("metrics")),
        origin={key: str(value)[:200] for key, value in origin.items() if value},
    )


# -- the file


class _LoaderWithoutAliases(yaml.SafeLoader):
    """A few nested aliases expand to gigabytes, and MLflow writes none."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def _read_yaml(path: Path) -> Mapping[str, object]:
    with path.open("rb") as file:
        content = file.read(MAX_MLMODEL_BYTES + 1)
    if len(content) > MAX_MLMODEL_BYTES:
        raise ArtifactRejected(f"{MLMODEL} is larger than {MAX_MLMODEL_BYTES} bytes.")
    try:
        body = yaml.load(content, _LoaderWithoutAliases)  # noqa: S506 - a SafeLoader
    # ValueError for an invalid date or number.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).replace("\n", " ")[:300]
        raise ArtifactRejected(f"{MLMODEL} is not valid YAML: {reason}") from error
    if not isinstance(body, dict):
        raise ArtifactRejected(f"{MLMODEL} is not a mapping.")
    return body


def _resolve_file(folder: Path, name: object) -> Path:
    """The file of that name in the folder; neither links nor `..` may lead out of it."""
    if not isinstance(name, str) or not name:
        raise ArtifactRejected(f"{MLMODEL} does not name the model file.")
    try:
        path = path_below(folder, name)
    except ArtifactRejected:
        raise ArtifactRejected(f"'{name[:100]}' is outside the model's folder.") from None
    if not path.is_file():
        if name == MLMODEL:
            foreign = describe_folder(folder)
            raise ArtifactRejected(
                foreign.message
                if foreign
                else f"This is not the folder of an MLflow model: no {MLMODEL} file. Register a"
                " model's file, or a folder that mlflow.<flavor>.save_model wrote."
            )
        raise ArtifactRejected(f"The folder has no file '{name[:100]}'.")
    return path


# -- the flavor


def _flavors(body: Mapping[str, object]) -> Mapping[str, object]:
    flavors = body.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise ArtifactRejected(f"{MLMODEL} has no flavors.")
    return flavors


def _select_flavor(flavors: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    for name in _FLAVORS:
        details = flavors.get(name)
        if isinstance(details, dict):
            return name, details
    names = ", ".join(str(name)[:40] for name in list(flavors)[:10])
    raise ArtifactRejected(
        f"The model has the flavors {names}, but mlapi supports {', '.join(_FLAVORS)}. A model with"
        " only the flavor python_function is a pickle or custom code, which mlapi never runs."
    )


def _converted_pickle(folder: Path, pickle: Path) -> Path:
    """The skops file that `convert_pickle` wrote beside the pickle; raises ArtifactRejected.

    Only skops, because a booster's own file lacks the labels of its classes.
    """
    converted = pickle.with_suffix(".skops")
    if converted.is_file():
        return _resolve_file(folder, str(converted.relative_to(folder.resolve())))
    path = folder / pickle.relative_to(folder.resolve())
    command = shlex.join(["python", "manage.py", "convert_pickle", str(path), "--to", "skops"])
    raise ArtifactRejected(
        f"'{pickle.name[:100]}' is a pickle, and loading it would run any code it contains. If you"
        f" trust it, convert it, and then register this folder again: {command}"
    )


def _other_predict_function(flavors: Mapping[str, object]) -> str | None:
    """The function that MLflow calls to serve the model, if it is not `predict`."""
    function = flavors.get("python_function")
    name = function.get("predict_fn") if isinstance(function, dict) else None
    return name if isinstance(name, str) and name != "predict" else None


# -- signature and metrics


def _declared_signature(signature: object) -> JSONObject | None:
    """The columns as a declared signature; None for tensors, which the model file describes."""
    if not isinstance(signature, dict) or not signature.get("inputs"):
        return None
    try:
        specs = json.loads(signature["inputs"])
    except (TypeError, ValueError, RecursionError) as error:
        raise _signature_error(f"inputs is not valid JSON: {error}") from error
    if not isinstance(specs, list) or not 0 < len(specs) <= MAX_COLUMNS:
        raise _signature_error(f"inputs must be a list of 1 to {MAX_COLUMNS} columns")
    columns = [_column(spec, f"inputs[{i}]") for i, spec in enumerate(specs)]
    named = [column for column in columns if column is not None]
    if named and len(named) < len(columns):
        raise _signature_error("inputs mixes columns with and without names")
    return {"columns": named} if named else None


def _column(spec: object, path: str) -> JSONObject | None:
    """Translate one column; None for a tensor and for a column without a name."""
    if not isinstance(spec, dict):
        raise _signature_error(f"{path} must be an object")
    kind, name = spec.get("type"), spec.get("name")
    if kind == "tensor" or name is None:
        return None
    if not isinstance(name, str) or not name:
        raise _signature_error(f"{path}.name must be a non-empty string")
    if not isinstance(kind, str) or kind not in _DATATYPES:
        raise _signature_error(
            f"'{name[:100]}' has the type {str(kind)[:40]}, but mlapi supports"
            f" {', '.join(_DATATYPES)}"
        )
    is_nullable = spec.get("required", True) is False or spec.get("optional") is True
    # pandas reads a column of integers with gaps as floats.
    datatype = "FP64" if is_nullable and kind in ("integer", "long") else _DATATYPES[kind]
    return {
        "name": name,
        "datatype": datatype,
        **({"nullable": True} if is_nullable and kind != "boolean" else {}),
    }


def _signature_error(reason: str) -> ArtifactRejected:
    return ArtifactRejected(
        f"The signature in {MLMODEL} cannot be used: {reason}. Declare the signature yourself.",
        field="signature",
    )


def _numeric_metrics(metrics: object) -> dict[str, float] | None:
    """The numbers among the metrics, given as a mapping or as a list of {key, value} objects."""
    if isinstance(metrics, list):
        metrics = {
            metric["key"]: metric.get("value")
            for metric in metrics
            if isinstance(metric, dict) and isinstance(metric.get("key"), str)
        }
    if not isinstance(metrics, dict):
        return None
    numbers = {
        name: value
        for name, value in list(metrics.items())[:MAX_METRICS]
        if isinstance(name, str) and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return numbers or None
