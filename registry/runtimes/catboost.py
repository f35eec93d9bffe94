"""CatBoost models, from the `.cbm` that `save_model` writes. No Django here."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import catboost
import numpy as np

from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    class_outputs,
    target_names,
    value_outputs,
)
from registry.runtimes.catboost_tables import check_file
from registry.runtimes.columns import MATRIX, NUMBER_ALTERNATIVES
from registry.runtimes.contributions import Explains, Link, divided
from registry.signatures.signature import ClassLabel, Input, Output, Signature
from registry.signatures.synthetic_rows import Profiles, ranges_of_thresholds

_MAX_WIDTH_WITH_GAPS = 100_000
_RELEASE = re.compile(r"tags/v([\d.]+)")
_MULTI_LABEL_LOSSES = frozenset({"MultiCrossEntropy", "MultiLogloss"})
_CLASS_LOSSES = frozenset(
    {"CrossEntropy", "Focal", "Logloss", "MultiClass", "MultiClassOneVsAll"} | _MULTI_LABEL_LOSSES
)
# The prediction types by which CatBoostRegressor.predict transforms the sums of the leaves. It
# returns those of every other loss as they are, also LogLinQuantile's and Cox's.
_TRANSFORMED_LOSSES = {
    "Poisson": "Exponent",
    "Tweedie": "Exponent",
    "RMSEWithUncertainty": "RMSEWithUncertainty",
}
_CUSTOM_LOSSES = frozenset({"PythonUserDefinedMultiTarget", "PythonUserDefinedPerObject"})
_VALUE_LOSSES = frozenset(
    {
        *_CUSTOM_LOSSES,
        *_TRANSFORMED_LOSSES,
        *("Cox", "Expectile", "GroupQuantile", "Huber", "LogCosh", "LogLinQuantile", "Lq", "MAE"),
        *("MAPE", "MultiQuantile", "MultiRMSE", "MultiRMSEWithMissingValues", "Quantile", "RMSE"),
        *("RMSPE", "SurvivalAft", "LambdaMart", "PairLogit", "PairLogitPairwise"),
        *("QueryCrossEntropy", "QueryRMSE", "QuerySoftMax", "StochasticFilter", "StochasticRank"),
        *("YetiRank", "YetiRankPairwise"),
    }
)


class CatBoostRuntime:
    """A model that predicts like the CatBoostClassifier, CatBoostRegressor or CatBoostRanker that
    loaded the same file.
    """

    # The flatbuffer is intact, but nobody compares the numbers in its trees with their tables.
    hazard = "CatBoost follows the numbers in its trees unchecked"

    def __init__(self, model: catboost.CatBoost) -> None:
        self._model = model
        proxy = model.get_metadata()
        metadata = {key: proxy[key] for key in proxy.keys()}  # noqa: SIM118 - not a mapping
        self.libraries: Mapping[str, str] = {"catboost": _written_by(metadata)}
        self._columns = _Columns(model, metadata)
        self._loss: str = model._object._get_loss_function_name()
        self._classes: tuple[ClassLabel, ...] = tuple(np.asarray(model.classes_).tolist())
        self._width = self._raw_values(self._columns.sample()).shape[1]
        self._logit_threshold = _logit_threshold(metadata)
        self.signature = Signature(self._columns.inputs, self._outputs())
        self.explains = self._find_explains()

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score the columns: FP32 with NaN for missing, categories and texts as objects; or all in
        one matrix, if all are numbers. See Runtime.predict.
        """
        try:
            return self._name_outputs(self._columns.pool(inputs))
        except (catboost.CatBoostError, ValueError, TypeError, OverflowError) as error:
            raise InferenceError(str(error)) from error

    def explain(self, inputs: Mapping[str, np.ndarray], seconds: float | None = None) -> Outputs:
        """By TreeSHAP over the weights of the leaves; see Explainable.explain."""
        try:
            pool = self._columns.pool(inputs)
            values = np.asarray(
                self._model.get_feature_importance(pool, type="ShapValues", thread_count=1)
            )
            raw = self._raw_values(pool)
        except (catboost.CatBoostError, ValueError, TypeError, OverflowError) as error:
            raise InferenceError(str(error)) from error
        values = values.reshape(len(raw), self._width, -1)
        return divided(values[:, :, [*self._columns.indexes, -1]], raw)

    def _find_explains(self) -> Explains | None:
        transformed = _TRANSFORMED_LOSSES.get(self._loss, "")
        if self._is_multi_label() or self._columns.has_texts or transformed not in ("", "Exponent"):
            return None
        link: Link = "log" if transformed else "identity"
        if self.signature.outputs[0].kind == "label":
            is_softmax = self._width > 1 and self._loss != "MultiClassOneVsAll"
            link = "softmax" if is_softmax else "logit"
        return Explains("contributions", link)

    def profiles(self) -> Profiles:
        """The range of each number's borders in the trees; of categories the file has hashes."""
        positions = {index: i for i, index in enumerate(self._columns.indexes)}
        return ranges_of_thresholds(
            (positions[index], border)
            for index, borders in self._model.get_borders().items()
            for border in borders
        )

    def _is_multi_label(self) -> bool:
        return self._loss in _MULTI_LABEL_LOSSES

    def _outputs(self) -> tuple[Output, ...]:
        if self._loss not in _CLASS_LOSSES | _VALUE_LOSSES:
            raise LoadError(
                f"mlapi does not know the loss function '{self._loss}', nor what its predictions "
                f"mean. It knows {', '.join(sorted(_CLASS_LOSSES | _VALUE_LOSSES))}"
            )
        if self._is_multi_label():
            return tuple(
                output for name in self._targets() for output in class_outputs((0, 1), "FP64", name)
            )
        if self._classes or self._loss in _CLASS_LOSSES:
            expected = 1 if len(self._classes) == 2 and self._width == 1 else len(self._classes)
            if len(self._classes) < 2 or self._width != expected:
                raise LoadError(
                    f"the file has {len(self._classes)} class labels for {self._width} values per "
                    "row. Save the CatBoostClassifier itself, by model.save_model('model.cbm')"
                )
            return class_outputs(self._classes, "FP64")
        return value_outputs(self._width, "FP64")

    def _targets(self) -> tuple[str, ...]:
        """The names of the labels of a multi-label model."""
        if len(self._classes) == self._width and all(isinstance(c, str) for c in self._classes):
            return tuple(map(str, self._classes))
        return target_names(self._width)

    def _name_outputs(self, pool: catboost.Pool) -> Outputs:
        outputs = self.signature.outputs
        if outputs[0].kind == "value":
            values = self._values(pool, _TRANSFORMED_LOSSES.get(self._loss, "RawFormulaVal"))
            return {output.name: values[:, i] for i, output in enumerate(outputs)}
        raw, probabilities = self._raw_values(pool), self._values(pool, "Probability")
        if self._is_multi_label():
            named: Outputs = {}
            for i, (label, scores) in enumerate(zip(outputs[::2], outputs[1::2], strict=True)):
                positive = probabilities[:, i]
                named[label.name] = (raw[:, i] > self._logit_threshold).astype(np.int64)
                named[scores.name] = np.stack([1 - positive, positive], axis=1)
            return named
        if self._width == 1:
            indexes = (raw[:, 0] > self._logit_threshold).astype(np.int64)
        else:
            indexes = raw.argmax(axis=1)
        return {"label": indexes, "probabilities": probabilities}

    def _raw_values(self, pool: catboost.Pool) -> np.ndarray:
        return self._values(pool, "RawFormulaVal")

    def _values(self, pool: catboost.Pool, prediction_type: str) -> np.ndarray:
        """(n, k) values of that type; by default, CatBoost would use every core."""
        values = np.asarray(self._model.predict(pool, prediction_type, thread_count=1))
        return values.reshape(pool.num_row(), -1)


class _Columns:
    """The features of a model, and how to hand rows of them to CatBoost.

    `indexes` are the columns of CatBoost's table that the inputs fill, in their order. A model
    whose unused features were dropped has gaps between them.
    """

    def __init__(self, model: catboost.CatBoost, metadata: Mapping[str, str]) -> None:
        if model._get_embedding_feature_indices():
            raise LoadError(
                "the model takes embeddings, whose length the file does not say. Give each number "
                "of an embedding a column of its own, and train again"
            )
        self._numbers: list[int] = model._object._get_float_feature_indices()
        self._categories: list[int] = model._get_cat_feature_indices()
        self._texts: list[int] = model._get_text_feature_indices()
        self.indexes = sorted([*self._numbers, *self._categories, *self._texts])
        self._width = self.indexes[-1] + 1 if self.indexes else 0
        self._names = list(model.feature_names_)
        # Each row of a table has all of the columns, whether the model uses them or not.
        is_too_wide = self._width > max(len(self.indexes), _MAX_WIDTH_WITH_GAPS)
        if not self.indexes or len(self._names) != len(self.indexes) or is_too_wide:
            raise LoadError("the file does not describe the model's features")
        self.inputs = self._inputs(_nullable_numbers(model, metadata))

    @property
    def has_texts(self) -> bool:
        return bool(self._texts)

    def _inputs(self, nullable: set[int]) -> tuple[Input, ...]:
        """One matrix, if all columns are numbers alike; otherwise one input for each column."""
        if len(self._numbers) == self._width and len(nullable) in (0, self._width):
            # The default names are the positions.
            has_names = self._names != list(map(str, self.indexes))
            features = tuple(self._names) if has_names else ()
            shape, is_nullable = (-1, self._width), bool(nullable)
            return (Input(MATRIX, "FP32", shape, features, is_nullable, NUMBER_ALTERNATIVES),)
        return tuple(
            Input(name, "FP32", (-1,), (), index in nullable, NUMBER_ALTERNATIVES)
            if index in self._numbers
            # An integer is the category of its digits, and true is 1; a float is no category.
            else Input(name, "BYTES", (-1,), (), False, self._alternatives(index))
            for name, index in zip(self._names, self.indexes, strict=True)
        )

    def _alternatives(self, index: int) -> tuple[str, ...]:
        return NUMBER_ALTERNATIVES if index in self._categories else ()

    def pool(self, inputs: Mapping[str, np.ndarray]) -> catboost.Pool:
        """CatBoost's table of these rows, whose columns come in the order of the signature."""
        columns = list(inputs.values())
        if len(columns) == 1 and columns[0].ndim == 2:
            return catboost.Pool(np.ascontiguousarray(columns[0], np.float32), thread_count=1)
        table = np.zeros((len(columns[0]), self._width), object)
        for index, name, column in zip(self.indexes, self._names, columns, strict=True):
            is_number = index in self._numbers
            table[:, index] = column.astype(np.float32) if is_number else _texts(name, column)
        return catboost.Pool(
            table, cat_features=self._categories, text_features=self._texts, thread_count=1
        )

    def sample(self) -> catboost.Pool:
        """A row of zeros and empty texts."""
        if not (self._categories or self._texts):
            return catboost.Pool(np.zeros((1, self._width), np.float32), thread_count=1)
        numbers, texts = np.zeros(1, np.float32), np.array([""], object)
        return self.pool({str(i): numbers if i in self._numbers else texts for i in self.indexes})


def _texts(name: str, column: np.ndarray) -> list[str]:
    """The categories or texts in a column; raises InferenceError for a missing one."""
    values: list[str] = column.tolist()
    if column.dtype.kind in "biu":
        # CatBoost makes the same digits of integers, but not of those beyond a C long.
        return [str(int(value)) for value in values]
    if None in values:
        raise InferenceError(
            f"CatBoost takes no missing value in '{name}', a column of categories or texts."
            " Send the text that stood for it in training"
        )
    return values


def load(path: Path, options: LoadOptions) -> CatBoostRuntime:
    """Load a `.cbm` model; raises LoadError. A damaged file may crash the process."""
    content = path.read_bytes()
    try:
        # CatBoost reads beyond the end of a file that is cut, and follows any index.
        check_file(content)
        # From memory, since CatBoost decides by a path's suffix which parser to use.
        return CatBoostRuntime(catboost.CatBoost().load_model(blob=content))
    except (
        catboost.CatBoostError,
        AttributeError,
        KeyError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise LoadError(f"CatBoost cannot read the file: {error}") from error


def _nullable_numbers(model: catboost.CatBoost, metadata: Mapping[str, str]) -> set[int]:
    """The columns of numbers for which CatBoost's treatment of missing values is known.

    `AsFalse` is smaller than all numbers and `AsTrue` greater, for a feature that had missing
    values in training. Any other is `AsIs`: it answers as for a small number, which is what the
    option nan_mode="Min", the default, says. With another nan_mode, missing values were excluded.
    """
    treatments: Mapping[int, str] = model._object._get_nan_treatments()
    options = json.loads(metadata.get("params", "{}")).get("data_processing_options", {})
    is_min = options.get("float_features_binarization", {}).get(
        "nan_mode"
    ) == "Min" and not options.get("per_float_feature_quantization")
    return {
        index
        for index, treatment in treatments.items()
        if treatment in ("AsFalse", "AsTrue") or (treatment == "AsIs" and is_min)
    }


def _logit_threshold(metadata: Mapping[str, str]) -> float:
    """The sum of leaves above which a binary classifier answers its second class, and a multi-label
    classifier that a label is present.
    """
    threshold = float(metadata.get("binclass_probability_threshold", 0.5))
    if not 0 < threshold < 1:
        return -math.inf if threshold <= 0 else math.inf
    return math.log(threshold / (1 - threshold))


def _written_by(metadata: Mapping[str, str]) -> str:
    """The version of CatBoost that wrote the file."""
    match = _RELEASE.search(metadata.get("catboost_version_info", ""))
    return match[1] if match else str(catboost.__version__)
