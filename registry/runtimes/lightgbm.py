"""LightGBM models, from the text file that `save_model` writes. No Django here."""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np

from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    class_outputs,
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
from registry.runtimes.trees.lightgbm import check_text
from registry.signatures.signature import Input, Output, Signature
from registry.signatures.synthetic_rows import ColumnProfile, Profiles

logger = logging.getLogger(__name__)

_OBJECTIVE = re.compile(r"^objective=(\S+)", re.MULTILINE)
_OBJECTIVE_LINE = re.compile(r"^objective=(.*)", re.MULTILINE)
_FEATURE_INFOS = re.compile(r"^feature_infos=(.*)", re.MULTILINE)
_CATEGORICAL = re.compile(r"^\[categorical_feature: ([\d,]*)\]", re.MULTILINE)


_LINKS: Mapping[str, Link] = {
    "binary": "logit",
    "cross_entropy": "logit",
    "gamma": "log",
    "multiclass": "softmax",
    "multiclassova": "logit",
    "poisson": "log",
    "tweedie": "log",
}


class _QuietLogger:
    """Sends to the log what the native library would print to standard output."""

    def info(self, message: str) -> None:
        logger.debug("%s", message)

    def warning(self, message: str) -> None:
        logger.debug("%s", message)


lightgbm.register_logger(_QuietLogger())


class LightGBMRuntime:
    """A Booster that predicts like an LGBMClassifier or LGBMRegressor with the same trees."""

    def __init__(
        self,
        booster: lightgbm.Booster,
        objective: str,
        categories: Mapping[int, Categories],
        scale: float = 1.0,
    ) -> None:
        """`scale` turns the sums of leaves into margins; 0 if no factor does."""
        self.libraries: Mapping[str, str] = {"lightgbm": lightgbm.__version__}
        self._booster = booster
        self._objective = objective
        self._width = booster.num_model_per_iteration()
        self._categories = categories
        self._reader = MatrixReader(
            booster.feature_name(), np.float64, categories, unknown_is_missing=True
        )
        self.signature = Signature(_inputs(booster, categories), self._outputs())
        link = _LINKS.get(objective, "identity")
        self.explains = Explains("contributions", link) if scale else None
        self._scale = scale

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score `features`, FP64 (n, k) with NaN for missing, or each column as an array of its
        own, with None for missing; see Runtime.predict.
        """
        try:
            features = self._reader.read(inputs)
            # By default, each call would use every core.
            raw = np.asarray(self._booster.predict(features, num_threads=1))
            return self._name_outputs(raw.reshape(len(features), self._width))
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise InferenceError(str(error)) from error

    def explain(self, inputs: Mapping[str, np.ndarray], seconds: float | None = None) -> Outputs:
        """By TreeSHAP over the trees' own counts of training rows; see Explainable.explain."""
        try:
            features = self._reader.read(inputs)
            values = self._booster.predict(features, pred_contrib=True, num_threads=1)
            raw = self._booster.predict(features, raw_score=True, num_threads=1)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise InferenceError(str(error)) from error
        shape = (len(features), self._width, features.shape[1] + 1)
        return divided(
            self._scale * np.asarray(values).reshape(shape), self._scale * np.asarray(raw)
        )

    def profiles(self) -> Profiles:
        """The range of each feature in the training data, and the categories."""
        infos = self._booster.dump_model(num_iteration=1)["feature_infos"]
        ranges = {
            i: ColumnProfile(info["min_value"], info["max_value"], tuple(info.get("values", ())))
            for i, name in enumerate(self._booster.feature_name())
            if (info := infos.get(name))
        }
        return ranges | {i: known.profile() for i, known in self._categories.items()}

    def _outputs(self) -> tuple[Output, ...]:
        if self._objective == "binary":
            return class_outputs((0, 1), "FP64")
        if self._objective in ("multiclass", "multiclassova"):
            return class_outputs(tuple(range(self._width)), "FP64")
        return value_outputs(self._width, "FP64")

    def _name_outputs(self, raw: np.ndarray) -> Outputs:
        if self._objective == "binary":
            raw = np.concatenate([1.0 - raw, raw], axis=1)
        if self._objective in ("binary", "multiclass", "multiclassova"):
            return {"label": raw.argmax(axis=1), "probabilities": raw}
        return {output.name: raw[:, i] for i, output in enumerate(self.signature.outputs)}


def load(path: Path, options: LoadOptions) -> LightGBMRuntime:
    """Load a text model; raises LoadError. A damaged file may crash the process."""
    try:
        text = path.read_text(encoding="utf-8")
        check_text(text)
        booster = lightgbm.Booster(params={"verbosity": -1, "num_threads": 1}, model_str=text)
        match = _OBJECTIVE.search(text, 0, _header_end(text))
        categories = _read_categories(booster, text)
        objective = match[1] if match else ""
        return LightGBMRuntime(booster, objective, categories, _scale(text, objective))
    except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
        raise LoadError(f"LightGBM cannot read the file: {error}") from error


def _scale(text: str, objective: str) -> float:
    """The factor by which the sums of leaves become margins of the objective's link; 0 if there is
    none, or if LightGBM cannot divide the sums among the features.
    """
    header = text[: _header_end(text)]
    line = _OBJECTIVE_LINE.search(header)
    words = line[1].split() if line else []
    # The mean of the trees; the square of the sum; another link; trees of linear models.
    if (
        "\naverage_output" in header
        or "sqrt" in words
        or objective == "cross_entropy_lambda"
        or "\nis_linear=1" in text
    ):
        return 0.0
    return next((float(w.partition(":")[2]) for w in words if w.startswith("sigmoid:")), 1.0)


# -- inputs


def _inputs(booster: lightgbm.Booster, categories: Mapping[int, Categories]) -> tuple[Input, ...]:
    """One matrix of numbers; or an input for each column, if some are categories."""
    names: tuple[str, ...] = tuple(booster.feature_name())
    if categories:
        columns = (
            category_input(name, categories[i]) if i in categories else number_input(name, "FP64")
            for i, name in enumerate(names)
        )
        return tuple(replace(column, has_spaces_replaced=True) for column in columns)
    # These are the default names of LightGBM.
    if names == tuple(f"Column_{i}" for i in range(len(names))):
        names = ()
    return (matrix_input(booster.num_feature(), names, "FP64"),)


def _header_end(text: str) -> int:
    """Where the trees begin."""
    position = text.find("\nTree=")
    return position if position >= 0 else len(text)


def _read_categories(booster: lightgbm.Booster, text: str) -> dict[int, Categories]:
    """The categories by column, in the order of their codes.

    The file lists the categories of the columns that had pandas' type "category", and elsewhere
    which columns the trees treat as categorical. By default these are the same columns.
    """
    lists: list[list[str | int | float | bool]] = booster.pandas_categorical or []
    if not lists:
        return {}
    match = _CATEGORICAL.search(text)
    infos = _FEATURE_INFOS.search(text, 0, _header_end(text))
    columns = [int(column) for column in match[1].split(",") if column] if match else []
    names, ranges = booster.feature_name(), infos[1].split() if infos else []
    if (
        len(columns) != len(lists)
        or len(ranges) != len(names)
        or columns != sorted(set(columns) & set(range(len(names))))
        or not _is_unambiguous(dict(zip(columns, lists, strict=True)), ranges)
    ):
        raise LoadError(
            f"the model was trained on {len(lists)} columns of the type category, and the file does"
            " not say which ones they are, because others were named in categorical_feature or some"
            " are ordered. Give exactly the categorical columns the type category, unordered, and"
            " train again without categorical_feature"
        )
    return {
        column: Categories.of(labels, names[column])
        for column, labels in zip(columns, lists, strict=True)
    }


def _is_unambiguous(lists: Mapping[int, list[str | int | float | bool]], ranges: list[str]) -> bool:
    """Whether the lists of categories can only belong to these columns.

    `ranges` has an entry for each column: the codes as in `-1:0:2`, or a range of numbers as in
    `[0:2]`, or `none`.
    """
    for column, labels in lists.items():
        if ranges[column].startswith("["):
            return False
        codes = [] if ranges[column] == "none" else map(int, ranges[column].split(":"))
        if max(codes, default=0) >= len(labels):
            return False
        # The labels may be those of a column with the range [0, k - 1] instead, whose codes the
        # trees read as numbers. Callers' texts would be refused there, and labels that equal their
        # codes would be right. Any other number would be scored as if it were a code.
        is_text = all(isinstance(label, str) for label in labels)
        if is_text or labels == list(range(len(labels))):
            continue
        if f"[0:{len(labels) - 1}]" in ranges:
            return False
    return True
