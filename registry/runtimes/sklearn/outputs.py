"""The outputs of a fitted scikit-learn model, and how to compute them. No Django here."""

import logging
from typing import Protocol

import numpy as np
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.utils import get_tags

from registry.runtimes.base import LoadError, Outputs, class_outputs
from registry.runtimes.sklearn.layout import ModelInputs
from registry.signatures.signature import DATATYPES, ClassLabel, Output, Signature

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


class Estimator(Protocol):
    """A fitted estimator. A classifier may have `predict_proba` as well."""

    def predict(self, rows: object, /) -> np.ndarray: ...


class EstimatorOutputs:
    """The outputs of an estimator, described for the signature and computed from its rows."""

    def __init__(self, estimator: Estimator, inputs: ModelInputs | None) -> None:
        """`inputs` is None for the last step of a pipeline, whose rows other steps prepare.

        Raises LoadError.
        """
        sample = _predict_sample(estimator, inputs)
        self._estimator = estimator
        self._is_classifier = get_tags(estimator).estimator_type == "classifier"
        self._has_probabilities = self._is_classifier and hasattr(estimator, "predict_proba")
        self._is_argmax = self._has_probabilities and type(estimator) in _ARGMAX_TYPES
        self._n_targets = 1 if sample is None or sample.ndim == 1 else sample.shape[1]
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
        """The predictions, of shape (n, targets)."""
        predicted = np.asarray(self._estimator.predict(rows))
        return predicted.reshape(len(predicted), self._n_targets)

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
        datatype = DATATYPES.get(dtype, "FP64")
        return tuple(Output(name or "value", datatype, (-1,)) for name in names)


def _predict_sample(estimator: Estimator, inputs: ModelInputs | None) -> np.ndarray | None:
    """The prediction for one made-up row, for its shape; None if the estimator refuses the row."""
    try:
        if inputs is None:
            n_features: int = getattr(estimator, "n_features_in_")  # noqa: B009 - untyped library
            return np.asarray(estimator.predict(np.ones((1, n_features))))
        row = inputs.arrange(Signature(inputs.inputs).sample())
        return np.asarray(estimator.predict(row))
    except Exception as error:
        logger.debug("The model does not predict a row of ones: %s", error)
        return None


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
