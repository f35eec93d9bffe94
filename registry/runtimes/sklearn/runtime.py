"""scikit-learn models, from the `.skops` that `skops.io.dump` writes. No Django here."""

import logging
import re
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow
import sklearn
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted
from skops.io.exceptions import UntrustedTypesFoundException
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs, class_outputs
from registry.runtimes.sklearn.signature import Reading, read_inputs
from registry.runtimes.sklearn.trusted_types import TRUSTED_TYPES, check_structure, parts_of
from registry.signatures.signature import DATATYPES, ClassLabel, Output, Signature, listed

logger = logging.getLogger(__name__)

# Classifiers whose own predict() is the argmax of their predict_proba(), so that one call does.
_ARGMAX_TYPES = (
    BaggingClassifier,
    DecisionTreeClassifier,
    ExtraTreeClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
_SCHEMA_VERSION = re.compile(rb'"_sklearn_version":\s*\{[^{}]*?"content":\s*"\\"([^"\\]+)\\""')
_SKOPS_VERSION = re.compile(rb'"_skops_version":\s*"([^"]+)"')
# Python's warning filters belong to the process: only one load at a time may change them.
_warning_filters = threading.Lock()


class _OneThread(threading.local):
    """Held to one OpenMP and BLAS thread from its first touch on, in each thread of the server.

    OpenMP's limit belongs to the calling thread, so that setting it once at start would not do.
    """

    def __init__(self) -> None:
        threadpool_limits(limits=1)
        self.is_set = True


_one_thread = _OneThread()


class SklearnRuntime:
    """A fitted estimator; a pipeline's preparing steps run once for labels and probabilities."""

    def __init__(self, model: Any, reading: Reading, libraries: Mapping[str, str]) -> None:
        self.libraries = libraries
        self._reading = reading
        if self._reading.layout == "tensor":
            _forget_feature_names(model)
        self._prepare, self._final = _split(model)
        self._targets = _Targets(self._final, not self._prepare, self._reading)
        self.signature = Signature(self._reading.inputs, self._targets.outputs)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows, one array an input of the signature; see Runtime.predict."""
        assert _one_thread.is_set
        try:
            rows = _laid_out(self._reading, inputs)
            for step in self._prepare:
                rows = step.transform(rows)
            return self._targets.read(self._final, rows)
        # Every estimator raises what it likes; nothing but the library runs in here.
        except Exception as error:
            raise InferenceError(str(error) or type(error).__name__) from error


class _Targets:
    """The outputs of a model, and how to read them from the library's answers."""

    def __init__(self, final: Any, is_whole: bool, reading: Reading) -> None:
        answer = _probe(final, reading if is_whole else None)
        self._is_classifier = get_tags(final).estimator_type == "classifier"
        self._has_probabilities = self._is_classifier and hasattr(final, "predict_proba")
        self._is_argmax = self._has_probabilities and type(final) in _ARGMAX_TYPES
        self._width = 1 if answer is None or answer.ndim == 1 else answer.shape[1]
        self._classes: list[np.ndarray] = []
        if self._is_classifier:
            self._classes = _classes(final, self._width)
            self._width = len(self._classes)
        self.outputs = self._described(answer)

    def read(self, final: Any, rows: Any) -> Outputs:
        if not self._is_classifier:
            values = _by_target(np.asarray(final.predict(rows)), self._width)
            return {output.name: values[:, i] for i, output in enumerate(self.outputs)}
        probabilities = self._probabilities(final, rows) if self._has_probabilities else []
        if self._is_argmax:
            labels = [columns.argmax(axis=1) for columns in probabilities]
        else:
            answers = _by_target(np.asarray(final.predict(rows)), self._width)
            labels = [_index(known, answers[:, i]) for i, known in enumerate(self._classes)]
        arrays = [
            array
            for i, label in enumerate(labels)
            for array in ((label, probabilities[i]) if probabilities else (label,))
        ]
        return {output.name: array for output, array in zip(self.outputs, arrays, strict=True)}

    def _probabilities(self, final: Any, rows: Any) -> list[np.ndarray]:
        """One array (n, classes) a target, from the three shapes that scikit-learn answers in."""
        answer = final.predict_proba(rows)
        if isinstance(answer, list):
            return [np.asarray(columns) for columns in answer]
        if self._width == 1:
            return [np.asarray(answer)]
        return [np.stack([1 - column, column], axis=1) for column in np.asarray(answer).T]

    def _described(self, answer: np.ndarray | None) -> tuple[Output, ...]:
        names = [""] if self._width == 1 else [f"y{i}" for i in range(self._width)]
        if self._is_classifier:
            told = "FP64" if self._has_probabilities else None
            return tuple(
                output
                for name, known in zip(names, self._classes, strict=True)
                for output in class_outputs(_labels(known), told, name)
            )
        dtype = np.dtype(np.float64) if answer is None else answer.dtype
        datatype = DATATYPES.get(dtype, "FP64")
        return tuple(Output(name or "value", datatype, (-1,)) for name in names)


def load(path: Path, options: LoadOptions) -> SklearnRuntime:
    """Load a `.skops` file; raises LoadError, which names the types that are not trusted."""
    trusted = sorted(TRUSTED_TYPES | options.trusted_types)
    try:
        libraries = _written_by(path)
        with _warning_filters, warnings.catch_warnings():
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            model = skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        raise LoadError(_untrusted(path, trusted)) from error
    # A crafted file makes skops, zipfile, json and numpy raise nearly anything.
    except Exception as error:
        raise LoadError(f"skops cannot read the file: {type(error).__name__}: {error}") from error
    if libraries["scikit-learn"] != sklearn.__version__:
        logger.warning(
            "%s was written by scikit-learn %s and is read by %s",
            path.name,
            libraries["scikit-learn"],
            sklearn.__version__,
        )
    try:
        _require_predictor(model)
        for part in parts_of(model):
            check_structure(part)
        reading = read_inputs(model)
        # Only now, since this changes what the parts tell of themselves.
        for part in list(parts_of(model)):
            _settle(part)
        return SklearnRuntime(model, reading, libraries)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"the model is damaged: {type(error).__name__}: {error}") from error


def _untrusted(path: Path, trusted: list[str]) -> str:
    # Only named here, never handed back to skops as trusted: that would trust whatever came.
    names = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
    return (
        f"the file holds types that are not trusted: {listed(names)}. Trust a type by the setting "
        "SKLEARN_TRUSTED_TYPES once its code was read, or build the model without it"
    )


def _require_predictor(model: Any) -> None:
    kind = type(model).__name__
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):
        raise LoadError(f"the file holds a {kind}, not an estimator")
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise LoadError(f"the {kind} is not fitted") from error
    if not hasattr(model, "predict"):
        raise LoadError(f"a {kind} does not predict: send the whole pipeline")


def _settle(part: Any) -> None:
    """Make one part of a model quiet, single-threaded and unable to open files."""
    attributes = getattr(part, "__dict__", {})
    if "n_jobs" in attributes:
        part.n_jobs = 1
    if "verbose" in attributes:
        part.verbose = 0
    if isinstance(part, CountVectorizer | HashingVectorizer):
        if part.input != "content":
            raise LoadError(f"a text vectorizer with input='{part.input}' reads files by name")
        # A column of a pyarrow table yields its own scalars, which have no text methods.
        part.decode = _Decoder(part.decode)
    # What "passthrough" becomes in a ColumnTransformer, for which scikit-learn knows pandas alone.
    if isinstance(part, FunctionTransformer) and part.func is None:
        part.func = _plain_array


def _plain_array(rows: Any) -> Any:
    return np.asarray(rows) if isinstance(rows, pyarrow.Table) else rows


class _Decoder:
    def __init__(self, decode: Any) -> None:
        self._decode = decode

    def __call__(self, document: Any) -> Any:
        if isinstance(document, pyarrow.Scalar):
            document = document.as_py()
        return self._decode(document)


def _forget_feature_names(model: Any) -> None:
    """Without names, an estimator takes an array in silence; with them, it warns in each call."""
    for part in parts_of(model):
        if not isinstance(part, ColumnTransformer):
            getattr(part, "__dict__", {}).pop("feature_names_in_", None)


def _split(model: Any) -> tuple[list[Any], Any]:
    """The preparing steps of a pipeline, and the step that predicts.

    Called one by one, as Pipeline.predict does, so that they run once for label and probabilities.
    """
    prepare: list[Any] = []
    while isinstance(model, Pipeline):
        prepare += [step for _, step in model.steps[:-1] if step not in (None, "passthrough")]
        model = model.steps[-1][1]
    return prepare, model


def _laid_out(reading: Reading, inputs: Mapping[str, np.ndarray]) -> Any:
    if reading.layout == "tensor":
        return inputs["features"]
    if reading.layout == "text":
        return inputs["text"]
    if reading.layout == "table":
        return pyarrow.table(
            {
                name: pyarrow.array(column, pyarrow.string() if column.dtype == object else None)
                for name, column in inputs.items()
            }
        )
    names = [tensor.name for tensor in reading.inputs]
    rows = np.empty((len(inputs[names[0]]), len(names)), dtype=object)
    for i, name in enumerate(names):
        rows[:, i] = inputs[name]
    return rows


# -- outputs


def _probe(final: Any, reading: Reading | None) -> np.ndarray | None:
    """What the model answers to one made-up row, for its shape; None where it takes no such row."""
    try:
        if reading is None:
            return np.asarray(final.predict(np.ones((1, final.n_features_in_))))
        return np.asarray(final.predict(_laid_out(reading, Signature(reading.inputs).sample())))
    except Exception as error:
        logger.debug("no answer to a row of ones: %s", error)
        return None


def _classes(final: Any, width: int) -> list[np.ndarray]:
    """The sorted classes of each target."""
    classes = getattr(final, "classes_", None)
    if classes is None:
        raise LoadError(f"the {type(final).__name__} does not tell its classes")
    if isinstance(classes, list):
        return [np.asarray(known) for known in classes]
    # One column a class, as multi-label classifiers answer: each is there or not.
    return [np.asarray(classes)] if width == 1 else [np.array([0, 1])] * width


def _labels(classes: np.ndarray) -> tuple[ClassLabel, ...]:
    labels = tuple(classes.tolist())
    if not all(isinstance(label, str | int | float) for label in labels):
        raise LoadError("the classes are neither texts nor numbers")
    return labels


def _index(classes: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The place of each answer in the sorted classes; raises ValueError for one not among them."""
    places = np.searchsorted(classes, answers)
    found = classes[np.minimum(places, len(classes) - 1)] == answers
    if not np.all(found):
        raise ValueError(f"answered a class that it does not have: {answers[~found][0]}")
    return places


def _by_target(answer: np.ndarray, width: int) -> np.ndarray:
    """(n,) or (n, width) as (n, width)."""
    return answer.reshape(len(answer), width)


def _written_by(path: Path) -> dict[str, str]:
    with ZipFile(path) as archive:
        schema = archive.read("schema.json")
    written = _SCHEMA_VERSION.search(schema)
    libraries = {"scikit-learn": written[1].decode() if written else sklearn.__version__}
    if match := _SKOPS_VERSION.search(schema):
        libraries["skops"] = match[1].decode()
    return libraries
