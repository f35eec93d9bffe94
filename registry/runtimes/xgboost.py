"""XGBoost models, from the `.ubj` or `.json` that `save_model` writes. No Django here."""

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    class_outputs,
    target_names,
    value_outputs,
)
from registry.runtimes.columns import (
    Categories,
    MatrixReader,
    category_input,
    matrix_input,
    number_input,
)
from registry.runtimes.contributions import Explains, Link, divided
from registry.runtimes.trees.xgboost import check_booster
from registry.signatures.signature import Input, Output, Signature, listed
from registry.signatures.synthetic_rows import Profiles, ranges_of_thresholds

_TAIL_BYTES = 200
# A file ends with the version of XGBoost that wrote it: [3,2,0] in JSON, and in UBJSON three
# integers of one byte ("i"), which suffices for numbers below 128.
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]\s*\}\s*\Z')
_UBJ_VERSION = re.compile(rb"version\[.*?i(.)i(.)i(.)\]?\}\Z", re.DOTALL)
# Enough rounds to learn the ranges of the features from.
_PROFILED_ROUNDS = 50
# The time and the source line that start a native message.
_NATIVE_PREFIX = re.compile(r"^\[[\d:]+\] \S+:\d+: ")
# Objectives whose prediction is a value: XGBoost has already transformed it (by exp for
# count:poisson, by the sigmoid for reg:logistic). The file of a model with a custom objective names
# the default one, reg:squarederror, and the model predicts margins.
_VALUE_OBJECTIVES = frozenset(
    {
        "binary:logitraw",
        "count:poisson",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:gamma",
        "reg:linear",
        "reg:logistic",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:tweedie",
        "survival:aft",
        "survival:cox",
    }
)
# The others' margins are the answers, or decide a label.
_LINKS: Mapping[str, Link] = {
    "binary:logistic": "logit",
    "count:poisson": "log",
    "multi:softmax": "softmax",
    "multi:softprob": "softmax",
    "reg:gamma": "log",
    "reg:logistic": "logit",
    "reg:tweedie": "log",
    "survival:aft": "log",
    "survival:cox": "log",
}
_CLASS_OBJECTIVES = frozenset(
    {"binary:hinge", "binary:logistic", "multi:softmax", "multi:softprob"}
)


class XGBoostRuntime:
    """A Booster that predicts like an XGBClassifier or XGBRegressor that loaded the same file."""

    def __init__(self, booster: xgboost.Booster, libraries: Mapping[str, str]) -> None:
        self.libraries = libraries
        self.hazard = check_booster(bytes(booster.save_raw("ubj")))
        self._booster = booster
        learner = json.loads(booster.save_config())["learner"]
        self._objective: str = learner["objective"]["name"]
        self._is_linear = learner["gradient_booster"]["name"] == "gblinear"
        self._n_targets = max(1, int(learner["learner_model_param"].get("num_target", 1)))
        self._n_classes = int(learner["learner_model_param"]["num_class"])
        self._iteration_range = _iteration_range(booster, self._is_linear)
        # Tree boosters predict without a lock; gblinear is documented as not thread-safe.
        self._linear_lock = threading.Lock()
        self._names = _column_names(booster)
        self._categories = _read_categories(booster, self._names)
        self._reader = MatrixReader(
            self._names, np.float32, self._categories, unknown_is_missing=False
        )
        self.signature = Signature(_inputs(booster, self._categories), self._outputs())
        is_multi_label = self._n_targets > 1 and self._objective in _CLASS_OBJECTIVES
        link = _LINKS.get(self._objective, "identity")
        self.explains = None if is_multi_label else Explains("contributions", link)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score `features`, FP32 (n, k) with NaN for missing, or each column as an array of its
        own, with None for missing; see Runtime.predict.
        """
        try:
            raw = self._predict_raw(self._reader.read(inputs))
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise InferenceError(_first_line(error)) from error
        return self._name_outputs(raw)

    def explain(self, inputs: Mapping[str, np.ndarray], seconds: float | None = None) -> Outputs:
        """By TreeSHAP over the trees' own counts of training rows; see Explainable.explain."""
        booster = self._booster
        try:
            rows = xgboost.DMatrix(
                self._reader.read(inputs),
                nthread=1,
                feature_names=booster.feature_names,
                feature_types=booster.feature_types,
                enable_categorical=True,
            )
            # Unlike a prediction of an array, that of a DMatrix may change the booster.
            with self._linear_lock:
                options = {"iteration_range": self._iteration_range, "strict_shape": True}
                values = booster.predict(rows, pred_contribs=True, **options)
                margins = booster.predict(rows, output_margin=True, **options)
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise InferenceError(_first_line(error)) from error
        return divided(values, margins)

    def profiles(self) -> Profiles:
        """The range of each feature's thresholds in the trees, and the categories."""
        indexes = {name: i for i, name in enumerate(self._names)}
        thresholds: list[tuple[int, float]] = []
        # The JSON of all trees of a large model would take minutes.
        is_large = not self._is_linear and self._booster.num_boosted_rounds() > _PROFILED_ROUNDS
        trees = self._booster[:_PROFILED_ROUNDS] if is_large else self._booster
        nodes = [json.loads(tree) for tree in trees.get_dump(dump_format="json")]
        while nodes:
            node = nodes.pop()
            nodes.extend(node.get("children", ()))
            if isinstance(node.get("split_condition"), int | float):
                thresholds.append((indexes[node["split"]], float(node["split_condition"])))
        categories = {i: known.profile() for i, known in self._categories.items()}
        return ranges_of_thresholds(thresholds) | categories

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
        if self._objective not in _VALUE_OBJECTIVES | _CLASS_OBJECTIVES:
            raise LoadError(
                f"mlapi does not know the objective '{self._objective}', nor what its predictions "
                f"mean. It knows {', '.join(sorted(_VALUE_OBJECTIVES | _CLASS_OBJECTIVES))}"
            )
        if self._objective in ("binary:logistic", "binary:hinge"):
            datatype = "FP32" if self._objective == "binary:logistic" else None
            return tuple(
                output
                for target in target_names(self._n_targets)
                for output in class_outputs((0, 1), datatype, target)
            )
        if self._objective in ("multi:softprob", "multi:softmax"):
            datatype = "FP32" if self._objective == "multi:softprob" else None
            return class_outputs(tuple(range(self._n_classes)), datatype)
        n_values = self._n_targets if self._n_targets > 1 else max(1, self._n_classes)
        return value_outputs(n_values, "FP32")

    def _name_outputs(self, raw: np.ndarray) -> Outputs:
        names = [output.name for output in self.signature.outputs]
        if self._objective == "multi:softprob":
            return {"label": raw.argmax(axis=1), "probabilities": raw}
        if self._objective in ("multi:softmax", "binary:hinge"):
            return {name: raw[:, column].astype(np.int64) for column, name in enumerate(names)}
        if self._objective == "binary:logistic":
            outputs: Outputs = {}
            for label, scores, positive in zip(names[::2], names[1::2], raw.T, strict=True):
                outputs[label] = (positive > 0.5).astype(np.int64)
                outputs[scores] = np.stack([1 - positive, positive], axis=1)
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
        return XGBoostRuntime(booster, {"xgboost": _written_by(content[-_TAIL_BYTES:])})
    except (xgboost.core.XGBoostError, ValueError, KeyError, TypeError, ImportError) as error:
        raise LoadError(f"XGBoost cannot read the file: {_first_line(error)}") from error


# -- inputs


def _column_names(booster: xgboost.Booster) -> list[str]:
    return list(booster.feature_names or ()) or [f"f{i}" for i in range(booster.num_features())]


def _inputs(booster: xgboost.Booster, categories: Mapping[int, Categories]) -> tuple[Input, ...]:
    """One matrix of numbers; or an input for each column, if some are categories or booleans."""
    types = booster.feature_types or ()
    if not categories and "i" not in types:
        names = tuple(booster.feature_names or ())
        return (matrix_input(booster.num_features(), names, "FP32"),)
    return tuple(
        category_input(name, categories[i])
        if i in categories
        # "i" is an indicator: a column of booleans in the data frame.
        else number_input(name, "BOOL" if types[i] == "i" else "FP32")
        for i, name in enumerate(_column_names(booster))
    )


def _read_categories(booster: xgboost.Booster, names: list[str]) -> dict[int, Categories]:
    """The categories by column, in the order of the codes that the trees split on.

    XGBoost writes them since version 3.1, for data frames.
    """
    columns = [i for i, kind in enumerate(booster.feature_types or ()) if kind == "c"]
    if not columns:
        return {}
    # Read through pyarrow, since the JSON form of 8-bit integers is invalid.
    categories = booster.get_categories(export_to_arrow=True).to_arrow()
    encodings: list[Any] = [values for _, values in categories]
    if unnamed := [names[i] for i in columns if encodings[i] is None or not len(encodings[i])]:
        raise LoadError(_categorical_message(unnamed))
    return {i: Categories.of(_labels(encodings[i], names[i]), names[i]) for i in columns}


def _labels(encoding: Any, column: str) -> list[str] | list[int]:
    """The names in a pyarrow array, which has no type information here."""
    try:
        labels: list[str] | list[int] = encoding.to_pylist()
    except UnicodeDecodeError as error:
        raise LoadError(_cut_names_message(column)) from error
    if not all(isinstance(label, int) or label.isascii() for label in labels):
        raise LoadError(_cut_names_message(column))
    return labels


def _cut_names_message(column: str) -> str:
    return (
        f"the categories of '{column}' hold characters outside of ASCII, which XGBoost cuts in the"
        " middle when it writes those of a pandas data frame. Rename the categories, or use"
        " integers, and train again"
    )


def _categorical_message(columns: list[str]) -> str:
    return (
        f"the model was trained on categorical columns of a data frame ({listed(columns)}), and the"
        " file does not contain the names of their categories. Train it with XGBoost 3.1 or newer, "
        "which writes them, or encode the columns as numbers before training"
    )


def _iteration_range(booster: xgboost.Booster, is_linear: bool) -> tuple[int, int]:
    """The trees to use: with early stopping up to the best iteration, as in XGBClassifier;
    otherwise all of them, (0, 0).
    """
    best = None if is_linear else booster.attr("best_iteration")
    return (0, 0) if best is None else (0, int(best) + 1)


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
