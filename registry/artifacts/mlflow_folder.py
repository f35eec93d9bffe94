"""Folders that MLflow saved a model in, read without MLflow: the `MLmodel` file and what it names.

No Django here. The format is MLflow's `MLmodel` YAML, as its versions 1 to 3 write it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry.artifacts import store
from registry.artifacts.store import ArtifactRejected

MLMODEL = "MLmodel"
MAX_MLMODEL_BYTES = 2**20
MAX_COLUMNS = 10_000
MAX_METRICS = 1000
# Under this tag a version keeps where it came from.
MLFLOW_TAG = "mlflow"

# Where each flavor names its file, and the version of its library.
_FLAVORS: Mapping[str, tuple[str, str]] = {
    "sklearn": ("pickled_model", "sklearn_version"),
    "onnx": ("data", "onnx_version"),
    "xgboost": ("data", "xgb_version"),
    "lightgbm": ("data", "lgb_version"),
}
_INSTEAD_OF_PICKLE = {
    "sklearn": 'mlflow.sklearn.save_model(model, path, serialization_format="skops")',
    "lightgbm": "mlflow.lightgbm.save_model(model.booster_, path)",
    "xgboost": "mlflow.xgboost.save_model(model, path)",
    "onnx": "mlflow.onnx.save_model(model, path)",
}
_DATATYPES = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}


@dataclass(frozen=True, slots=True)
class MLflowModel:
    """What a folder holds: the model file, a declared signature, metrics, and `origin`, which
    tells MLflow's version, the flavor, its class and the run.
    """

    path: Path
    signature: dict[str, Any] | None
    metrics: dict[str, float] | None
    origin: dict[str, str]


def read_folder(folder: Path, *, with_signature: bool = True) -> MLflowModel:
    """Read a model's folder, all but the signature where the caller has another.

    Raises ArtifactRejected where it is none, names a file outside of itself, holds a pickle, or has
    a flavor or a signature that mlapi does not serve.
    """
    body = _read_yaml(_inside(folder, MLMODEL))
    flavor, details = _flavor(body)
    key, version_key = _FLAVORS[flavor]
    _refuse_pickle(flavor, details, str(details.get(key)))
    origin = {
        "version": body.get("mlflow_version"),
        "flavor": flavor,
        "library_version": details.get(version_key),
        "model_class": details.get("model_class"),
        "predict_fn": _predict_function(body),
        "run_id": body.get("run_id"),
        "model_id": body.get("model_id"),
    }
    return MLflowModel(
        path=_inside(folder, details.get(key)),
        signature=_signature(body.get("signature")) if with_signature else None,
        metrics=_metrics(body.get("metrics")),
        origin={name: str(value)[:200] for name, value in origin.items() if value},
    )


class _Loader(yaml.SafeLoader):
    """Without aliases: a few nested ones stand for gigabytes, and MLflow writes none."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds aliases")
        return super().compose_node(parent, index)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        content = file.read(MAX_MLMODEL_BYTES + 1)
    if len(content) > MAX_MLMODEL_BYTES:
        raise ArtifactRejected(f"{MLMODEL} is larger than {MAX_MLMODEL_BYTES} bytes.")
    try:
        body = yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
    # ValueError for a date or a number that is none.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).replace("\n", " ")[:300]
        raise ArtifactRejected(f"{MLMODEL} is not the YAML it should be: {reason}") from error
    if not isinstance(body, dict):
        raise ArtifactRejected(f"{MLMODEL} is not a mapping.")
    return body


def _inside(folder: Path, name: object) -> Path:
    """The file of that name in the folder; no link and no `..` leads out of it."""
    if not isinstance(name, str) or not name:
        raise ArtifactRejected(f"{MLMODEL} does not name the file of the model.")
    try:
        path = store.resolve(folder, name)
    except ArtifactRejected:
        raise ArtifactRejected(
            f"'{name[:100]}' is outside the folder of the model: nothing there is read."
        ) from None
    if not path.is_file():
        what = "No folder of an MLflow model: it has" if name == MLMODEL else "The folder has"
        raise ArtifactRejected(f"{what} no file '{name[:100]}'.")
    return path


def _flavor(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    flavors = body.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise ArtifactRejected(f"{MLMODEL} has no flavors.")
    for name in _FLAVORS:
        if isinstance(flavors.get(name), dict):
            return name, flavors[name]
    named = ", ".join(str(name)[:40] for name in list(flavors)[:10])
    raise ArtifactRejected(
        f"The model has the flavors {named}, and mlapi serves {', '.join(_FLAVORS)}. A python_"
        "function alone is a pickle, or code of its own, which mlapi never runs."
    )


def _refuse_pickle(flavor: str, details: Mapping[str, Any], name: str) -> None:
    told = details.get("serialization_format")
    # Before MLflow could write skops, it did not say which format it was.
    is_pickle = name.endswith((".pkl", ".pickle", ".joblib", ".cloudpickle")) or told in (
        "pickle",
        "cloudpickle",
    )
    # The wrapper of LightGBM for scikit-learn, which its own file format does not hold.
    is_wrapper = flavor == "lightgbm" and name.endswith(".skops")
    if is_pickle or is_wrapper:
        what = "a pickle, which runs whatever code it holds" if is_pickle else "no LightGBM file"
        raise ArtifactRejected(f"'{name[:100]}' is {what}. Save it by {_INSTEAD_OF_PICKLE[flavor]}")


def _predict_function(body: Mapping[str, Any]) -> str | None:
    """Which function MLflow serves by, where it is another than `predict`."""
    function = body["flavors"].get("python_function")
    name = function.get("predict_fn") if isinstance(function, dict) else None
    return name if isinstance(name, str) and name != "predict" else None


# -- signature and metrics


def _signature(told: object) -> dict[str, Any] | None:
    """The columns as a declared signature; None where there are tensors: of them the file tells."""
    if not isinstance(told, dict) or not told.get("inputs"):
        return None
    try:
        specs = json.loads(told["inputs"])
    except (TypeError, ValueError, RecursionError) as error:
        raise _signature_error(f"inputs is no JSON: {error}") from error
    if not isinstance(specs, list) or not 0 < len(specs) <= MAX_COLUMNS:
        raise _signature_error(f"inputs must be a list of 1 to {MAX_COLUMNS} columns")
    columns = [_column(spec, f"inputs[{i}]") for i, spec in enumerate(specs)]
    named = [column for column in columns if column is not None]
    if named and len(named) < len(columns):
        raise _signature_error("inputs holds columns with and without names")
    return {"columns": named} if named else None


def _column(spec: object, place: str) -> dict[str, Any] | None:
    """One column, or None for a tensor and for a column without a name."""
    if not isinstance(spec, dict):
        raise _signature_error(f"{place} is no object")
    kind, name = spec.get("type"), spec.get("name")
    if kind == "tensor" or name is None:
        return None
    if not isinstance(name, str) or not name:
        raise _signature_error(f"{place}.name must be a non-empty text")
    if not isinstance(kind, str) or kind not in _DATATYPES:
        raise _signature_error(
            f"'{name[:100]}' is of the type {str(kind)[:40]}, "
            f"and mlapi takes {', '.join(_DATATYPES)}"
        )
    is_nullable = spec.get("required", True) is False or spec.get("optional") is True
    # A column of whole numbers with gaps is one of floats.
    datatype = "FP64" if is_nullable and kind in ("integer", "long") else _DATATYPES[kind]
    return {
        "name": name,
        "datatype": datatype,
        **({"nullable": True} if is_nullable and kind != "boolean" else {}),
    }


def _signature_error(reason: str) -> ArtifactRejected:
    return ArtifactRejected(
        f"The signature in {MLMODEL} can not be used: {reason}. Declare another.", field="signature"
    )


def _metrics(told: object) -> dict[str, float] | None:
    """Metrics by name, from a mapping or a list of {key, value}; others are nobody's."""
    if isinstance(told, list):
        told = {
            one["key"]: one.get("value")
            for one in told
            if isinstance(one, dict) and isinstance(one.get("key"), str)
        }
    if not isinstance(told, dict):
        return None
    metrics = {
        name: value
        for name, value in list(told.items())[:MAX_METRICS]
        if isinstance(name, str) and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return metrics or None
