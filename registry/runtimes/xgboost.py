"""XGBoost models, from the `.ubj` or `.json` that `save_model` writes. No Django here."""

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xgboost

from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs, class_outputs
from registry.signatures.signature import Input, Output, Signature
from registry.signatures.synthetic_rows import Profiles, ranges_of_thresholds

_TAIL_BYTES = 200
# A file ends with the version of XGBoost that wrote it: [3,2,0] in JSON, and in UBJSON three
# integers of one byte ("i"), which suffices for numbers below 128.
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]\s*\}\s*\Z')
_UBJ_VERSION = re.compile(rb"version\[.*?i(.)i(.)i(.)\]?\}\Z", re.DOTALL)
# The time and the source line that start a native message.
_NATIVE_PREFIX = re.compile(r"^\[[\d:]+\] \S+:\d+: ")


class XGBoostRuntime:
    """A Booster that predicts like an XGBClassifier or XGBRegressor that loaded the same file."""

    def __init__(self, booster: xgboost.Booster, libraries: Mapping[str, str]) -> None:
        self.libraries = libraries
        self._booster = booster
        learner = json.loads(booster.save_config())["learner"]
        self._objective: str = learner["objective"]["name"]
        self._is_linear = learner["gradient_booster"]["name"] == "gblinear"
        self._n_targets = max(1, int(learner["learner_model_param"].get("num_target", 1)))
        self._n_classes = int(learner["learner_model_param"]["num_class"])
        self._iteration_range = _iteration_range(booster, self._is_linear)
        # Tree boosters predict without a lock; gblinear is documented as not thread-safe.
        self._linear_lock = threading.Lock()
        self.signature = Signature((_input(booster),), self._outputs())

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score `features`, FP32 (n, k) with NaN for missing; see Runtime.predict."""
        try:
            raw = self._predict_raw(np.ascontiguousarray(inputs["features"], dtype=np.float32))
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise InferenceError(_first_line(error)) from error
        return self._name_outputs(raw)

    def profiles(self) -> Profiles:
        """The range of each feature's thresholds in the trees."""
        names = self._booster.feature_names or [
            f"f{i}" for i in range(self._booster.num_features())
        ]
        indexes = {name: i for i, name in enumerate(names)}
        thresholds: list[tuple[int, float]] = []
        nodes = [json.loads(tree) for tree in self._booster.get_dump(dump_format="json")]
        while nodes:
            node = nodes.pop()
            nodes.extend(node.get("children", ()))
            if isinstance(node.get("split_condition"), int | float):
                thresholds.append((indexes[node["split"]], float(node["split_condition"])))
        return ranges_of_thresholds(thresholds)

    def _predict_raw(self, features: np.ndarray) -> np.ndarray:
        """What the Booster returns: (n, k) with k classes, targets or 1."""
        raw: np.ndarray
        if self._is_linear:
            with self._linear_lock:
                rows = xgboost.DMatrix(
                    features, nthread=1, feature_names=self._booster.feature_names
                )
                raw = self._booster.predict(rows, strict_shape=True)
        else:
            raw = self._booster.inplace_predict(
                features, iteration_range=self._iteration_range, strict_shape=True
            )
        return raw

    def _outputs(self) -> tuple[Output, ...]:
        if self._objective == "binary:logistic":
            if self._n_targets == 1:
                return class_outputs((0, 1), "FP32")
            targets = [f"y{i}" for i in range(self._n_targets)]
            return tuple(
                output for target in targets for output in class_outputs((0, 1), "FP32", target)
            )
        if self._objective == "binary:hinge":
            return class_outputs((0, 1), None)
        if self._objective in ("multi:softprob", "multi:softmax"):
            datatype = "FP32" if self._objective == "multi:softprob" else None
            return class_outputs(tuple(range(self._n_classes)), datatype)
        n_values = self._n_targets if self._n_targets > 1 else max(1, self._n_classes)
        if n_values == 1:
            return (Output("value", "FP32", (-1,)),)
        return tuple(Output(f"y{i}", "FP32", (-1,)) for i in range(n_values))

    def _name_outputs(self, raw: np.ndarray) -> Outputs:
        names = [output.name for output in self.signature.outputs]
        if self._objective == "multi:softprob":
            return {"label": raw.argmax(axis=1), "probabilities": raw}
        if self._objective in ("multi:softmax", "binary:hinge"):
            return {"label": raw[:, 0].astype(np.int64)}
        if self._objective == "binary:logistic":
            outputs: Outputs = {}
            for column, name in enumerate(names[::2]):
                positive = raw[:, column]
                outputs[name] = (positive > 0.5).astype(np.int64)
                outputs[names[2 * column + 1]] = np.stack([1 - positive, positive], axis=1)
            return outputs
        return {name: raw[:, column] for column, name in enumerate(names)}


def load(path: Path, options: LoadOptions) -> XGBoostRuntime:
    """Load a `.ubj` or `.json` model; raises LoadError. A damaged file may crash the process."""
    content = path.read_bytes()
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    try:
        # From memory, XGBoost recognizes the format by the content; from a path, by the suffix.
        booster.load_model(bytearray(content))
        booster.set_param({"nthread": 1, "device": "cpu"})
        categorical = [i for i, kind in enumerate(booster.feature_types or ()) if kind == "c"]
        if categorical:
            raise LoadError(_categorical_message(booster, categorical))
        return XGBoostRuntime(booster, {"xgboost": _written_by(content[-_TAIL_BYTES:])})
    except (xgboost.core.XGBoostError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"XGBoost cannot read the file: {_first_line(error)}") from error


def _input(booster: xgboost.Booster) -> Input:
    names = tuple(booster.feature_names or ())
    return Input("features", "FP32", (-1, booster.num_features()), names, nullable=True)


def _iteration_range(booster: xgboost.Booster, is_linear: bool) -> tuple[int, int]:
    """The trees to use: with early stopping up to the best iteration, as in XGBClassifier;
    otherwise all of them, (0, 0).
    """
    best = None if is_linear else booster.attr("best_iteration")
    return (0, 0) if best is None else (0, int(best) + 1)


def _categorical_message(booster: xgboost.Booster, columns: list[int]) -> str:
    names = booster.feature_names
    shown = ", ".join(names[i] if names else f"column {i}" for i in columns[:10])
    return (
        f"the model was trained on categorical columns of a data frame ({shown}), and the file "
        "does not contain the names of their categories. Encode them as numbers before training, "
        "or send a pipeline as scikit-learn or ONNX"
    )


def _written_by(tail: bytes) -> str:
    """The version of XGBoost that wrote the file with this end."""
    if match := _JSON_VERSION.search(tail):
        return ".".join(part.decode() for part in match.groups())
    if match := _UBJ_VERSION.search(tail):
        return ".".join(str(part[0]) for part in match.groups())
    return xgboost.__version__


def _first_line(error: Exception) -> str:
    """The message without the time, the source file and the native stack trace."""
    return _NATIVE_PREFIX.sub("", str(error).split("\nStack trace", 1)[0]).strip()
