"""The outputs of a fitted scikit-learn model, and how to compute them. No Django here."""

import logging
from typing import Any, Protocol

import numpy as np
from scipy import sparse
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.utils import get_tags

from registry.runtimes.base import LoadError, Outputs, class_outputs
from registry.signatures.signature import DATATYPES, ClassLabel, Output

logger = logging.getLogger(__name__)

# Classifiers whose predict() is the argmax of their predict_proba(), so that one call suffices.
_ARGMAX_TYPES = (
    BaggingClassifier,
    DecisionTreeClassifier,
    ExtraTreeClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)


# The most values that a transformer may give for one row. Texts have vocabularies of any size.
MAX_TRANSFORMED_VALUES = 10_000


class _NoNumbers(ValueError):
    """A transformer gives texts, which no output of a model holds."""


class Estimator(Protocol):
    """A fitted estimator: a classifier may have `predict_proba` as well, and one that only
    transforms rows has `transform` instead of `predict`.
    """

    def predict(self, rows: object, /) -> np.ndarray: ...


class EstimatorOutputs:
    """The outputs of an estimator, described for the signature and computed from its rows."""

    def __init__(self, estimator: Estimator, sample_rows: object | None) -> None:
        """`sample_rows` is a row as the estimator gets it, None if it is not known; raises
        LoadError.
        """
        self._estimator = estimator
        self._is_transformer = not hasattr(estimator, "predict")
        sample = self._sample(sample_rows)
        self._is_classifier = get_tags(estimator).estimator_type == "classifier"
        self._has_probabilities = self._is_classifier and hasattr(estimator, "predict_proba")
        self._is_argmax = self._has_probabilities and type(estimator) in _ARGMAX_TYPES
        self._n_targets = 1 if sample is None or sample.ndim == 1 else sample.shape[1]
        if self._is_transformer:
            self._n_targets = _transformed_width(estimator, sample)
        # The classes of each target.
        self._classes: list[np.ndarray] = []
        if self._is_classifier:
            self._classes = _read_classes(estimator, self._n_targets)
            self._n_targets = len(self._classes)
        self.outputs = self._describe(sample)

    def compute(self, rows: object) -> Outputs:
        """The arrays of all outputs; raises what the library raises."""
        if not self._is_classifier:
            values = self._predict(rows)
            if self._is_transformer and self._n_targets > 1:
                return {"value": values}
            return {output.name: values[:, i] for i, output in enumerate(self.outputs)}
        probabilities = self._predict_proba(rows) if self._has_probabilities else []
        if self._is_argmax:
            labels = [array.argmax(axis=1) for array in probabilities]
        else:
            predicted = self._predict(rows)
            labels = [
                _class_indices(classes, predicted[:, i]) for i, classes in enumerate(self._classes)
            ]
        arrays = [
            array
            for i, label in enumerate(labels)
            for array in ((label, probabilities[i]) if probabilities else (label,))
        ]
        return {output.name: array for output, array in zip(self.outputs, arrays, strict=True)}

    def _predict(self, rows: object) -> np.ndarray:
        """The predictions, of shape (n, targets), or the transformed rows."""
        predicted = self._call(rows)
        return predicted.reshape(len(predicted), self._n_targets)

    def _call(self, rows: Any) -> np.ndarray:
        result: Any = (
            getattr(self._estimator, "transform")(rows)  # noqa: B009 - optional
            if self._is_transformer
            else self._estimator.predict(rows)
        )
        array = result.toarray() if sparse.issparse(result) else np.asarray(result)
        if not self._is_transformer:
            return array
        try:
            # SparsePCA leaves out the dimension of a single row.
            return array.astype(np.float64).reshape(rows.shape[0], -1)
        except (ValueError, TypeError) as error:
            raise _NoNumbers(f"the transformed values are no numbers: {error}") from error

    def _sample(self, rows: object | None) -> np.ndarray | None:
        """The predictions for a made-up row, for their shape; None if each is refused."""
        width = getattr(self._estimator, "n_features_in_", None)
        for sample in (rows, *(np.full((1, width or 1), value) for value in (1.0, 0.0))):
            try:
                if sample is not None:
                    return self._call(sample)
            except _NoNumbers:
                return np.empty((1, 0))
            except Exception as error:
                logger.debug("The model does not predict a made-up row: %s", error)
        return None

    def _predict_proba(self, rows: object) -> list[np.ndarray]:
        """One array (n, classes) for each target, from the three forms in scikit-learn: a list of
        them, one of them, or (n, targets) for targets that are present or not.
        """
        result = getattr(self._estimator, "predict_proba")(rows)  # noqa: B009 - optional
        if isinstance(result, list):
            return [np.asarray(array) for array in result]
        if self._n_targets == 1:
            return [np.asarray(result)]
        return [np.stack([1 - column, column], axis=1) for column in np.asarray(result).T]

    def _describe(self, sample: np.ndarray | None) -> tuple[Output, ...]:
        names = [""] if self._n_targets == 1 else [f"y{i}" for i in range(self._n_targets)]
        if self._is_classifier:
            probability_datatype = "FP64" if self._has_probabilities else None
            return tuple(
                output
                for name, classes in zip(names, self._classes, strict=True)
                for output in class_outputs(_class_labels(classes), probability_datatype, name)
            )
        dtype = np.dtype(np.float64) if sample is None else sample.dtype
        if dtype not in DATATYPES or dtype.kind == "O":
            raise LoadError(
                f"the {type(self._estimator).__name__} answers {dtype.name}, not numbers, and is "
                "no classifier"
            )
        # A regressor of integers may answer one for some rows, and fractions for others.
        is_regressor = get_tags(self._estimator).estimator_type == "regressor"
        datatype = "FP64" if is_regressor and dtype.kind != "f" else DATATYPES[dtype]
        if self._is_transformer and self._n_targets > 1:
            return (Output("value", datatype, (-1, self._n_targets)),)
        return tuple(Output(name or "value", datatype, (-1,)) for name in names)


def _transformed_width(transformer: object, sample: np.ndarray | None) -> int:
    """How many values a transformer gives for one row; raises LoadError for none or too many."""
    width = _feature_count(transformer) if sample is None else sample.shape[1]
    if not width:
        raise LoadError(
            f"the {type(transformer).__name__} only transforms rows, and not into numbers: send a "
            "pipeline that predicts"
        )
    if width > MAX_TRANSFORMED_VALUES:
        raise LoadError(
            f"the {type(transformer).__name__} gives {width} values for one row, more "
            f"than {MAX_TRANSFORMED_VALUES}: reduce them, with TruncatedSVD for instance, or send "
            "a pipeline that predicts"
        )
    return width


def _feature_count(transformer: object) -> int:
    """How many features a fitted transformer names, 0 if it does not."""
    try:
        return len(getattr(transformer, "get_feature_names_out")())  # noqa: B009 - optional
    except Exception as error:
        logger.debug("The transformer has no names of features: %s", error)
        return 0


def _read_classes(classifier: Estimator, n_targets: int) -> list[np.ndarray]:
    """The sorted classes of each target."""
    classes = getattr(classifier, "classes_", None)
    if classes is None:
        raise LoadError(
            f"the {type(classifier).__name__} has no attribute classes_, so its classes are unknown"
        )
    if isinstance(classes, list):
        return [np.asarray(target_classes) for target_classes in classes]
    # Multi-label classifiers predict one column per class: present or not.
    return [np.asarray(classes)] if n_targets == 1 else [np.array([0, 1])] * n_targets


def _class_labels(classes: np.ndarray) -> tuple[ClassLabel, ...]:
    labels = tuple(classes.tolist())
    if not all(isinstance(label, str | int | float) for label in labels):
        raise LoadError("the classes of the model must be texts or numbers")
    return labels


def _class_indices(classes: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The index of each prediction in the sorted classes; raises ValueError for an unknown one."""
    indices = np.searchsorted(classes, predicted)
    is_known = classes[np.minimum(indices, len(classes) - 1)] == predicted
    if not np.all(is_known):
        raise ValueError(
            f"the model returned a class that it does not have: {predicted[~is_known][0]}"
        )
    return indices
