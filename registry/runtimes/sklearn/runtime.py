"""scikit-learn models, from the `.skops` files of `skops.io.dump`. No Django here."""

import json
import logging
import re
import threading
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Protocol
from zipfile import ZipFile

import numpy as np
import sklearn
import skops.io
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted
from skops.io.exceptions import UntrustedTypesFoundException
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from registry.runtimes.additive import additive_link, margins_of
from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs
from registry.runtimes.contributions import Explains
from registry.runtimes.sklearn.adaptation import adapt_part, leave_warning_filters_alone
from registry.runtimes.sklearn.boosters import (
    booster_hazard,
    check_texts,
    import_boosters,
    needs_lock,
)
from registry.runtimes.sklearn.composites import pipeline_steps
from registry.runtimes.sklearn.inputs import read_inputs
from registry.runtimes.sklearn.layout import ModelInputs
from registry.runtimes.sklearn.outputs import Estimator, EstimatorOutputs
from registry.runtimes.sklearn.profiles import closed_columns, read_profiles
from registry.runtimes.sklearn.structure import check_structure, parts_of
from registry.runtimes.sklearn.trusted_types import (
    TRUSTED_TYPES,
    has_distributions,
    without_distributions,
)
from registry.signatures.signature import Signature, listed
from registry.signatures.synthetic_rows import Profiles, synthesize_arrays

logger = logging.getLogger(__name__)

_SCHEMA_VERSION = re.compile(rb'"_sklearn_version":\s*\{[^{}]*?"content":\s*"\\"([^"\\]+)\\""')
_SKOPS_VERSION = re.compile(rb'"_skops_version":\s*"([^"]+)"')
# Warning filters are global to the process, so only one load at a time may change them.
_warning_filters = threading.Lock()
leave_warning_filters_alone()


MAX_SHOWN_CHARACTERS = 100


class _ThreadLimit(threading.local):
    """Limits OpenMP and BLAS to one thread, in each thread of the server that reads `is_set`.

    OpenMP's limit belongs to the calling thread, so setting it once at startup is not enough.
    """

    def __init__(self) -> None:
        threadpool_limits(limits=1)
        self.is_set = True


_thread_limit = _ThreadLimit()


class Transformer(Protocol):
    """A step of a pipeline that prepares rows."""

    def transform(self, rows: object, /) -> object: ...


class SklearnRuntime:
    """A fitted estimator. The transformers of a pipeline run once for labels and probabilities."""

    def __init__(
        self, model: Estimator, inputs: ModelInputs, libraries: Mapping[str, str], hazard: str = ""
    ) -> None:
        self.libraries = libraries
        self.hazard = hazard
        self._inputs = inputs
        self._model = model
        self._closed_columns = closed_columns(model)
        self._lock = threading.Lock() if needs_lock(parts_of(model)) else nullcontext()
        self._transformers, final = _split_pipeline(model)
        self._final = final
        self._outputs = EstimatorOutputs(final, self._sample_rows())
        link = additive_link(model)
        self.explains = None if link is None else Explains("margins", link)
        self.signature = Signature(inputs.inputs, self._outputs.outputs)

    def profiles(self) -> Profiles:
        """What the fitted steps reveal about the values of each column."""
        by_column = read_profiles(self._model)
        if self._inputs.layout != "columns":
            return by_column
        # The signature leaves out columns that the model does not use.
        columns = [self._inputs.positions[tensor.name] for tensor in self._inputs.inputs]
        return {
            position: by_column[column]
            for position, column in enumerate(columns)
            if column in by_column
        }

    def refine_signature(self, signature: Signature, outputs: Outputs) -> Signature:
        """The signature without null where the model takes no missing value, or where several
        values were missing ones in training.
        """
        never_null = self._inputs.never_null
        inputs = tuple(
            # Columns of a matrix have become inputs of their own if one of them is a boolean.
            replace(tensor, nullable=False) if {tensor.name, "features"} & never_null else tensor
            for tensor in signature.inputs
        )
        return replace(signature, inputs=inputs)

    def _sample_rows(self) -> object | None:
        """A made-up row as the final estimator gets it, None if the model refuses the row."""
        inputs = Signature(self._inputs.inputs)
        try:
            arrays = synthesize_arrays(inputs, self.profiles(), 1, guess="constant")
            return self._prepare(self._inputs.arrange(arrays))
        except Exception as error:
            logger.debug("The model does not take a made-up row: %s", error)
            return None

    def _prepare(self, rows: object) -> object:
        for transformer in self._transformers:
            rows = transformer.transform(rows)
        return rows

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows, one array for each input of the signature; see Runtime.predict."""
        assert _thread_limit.is_set
        try:
            with self._lock:
                return self._outputs.compute(self._prepare(self._inputs.arrange(inputs)))
        # An estimator may raise anything, and only the library runs here.
        except Exception as error:
            message = self._unknown_category(inputs) or str(error) or type(error).__name__
            raise InferenceError(message) from error

    def explain(self, inputs: Mapping[str, np.ndarray], seconds: float | None = None) -> Outputs:
        """The margins of a linear model; see Explainable.explain."""
        assert _thread_limit.is_set
        assert self.explains is not None
        try:
            with self._lock:
                rows = self._prepare(self._inputs.arrange(inputs))
                return {"margins": margins_of(self._final, self.explains.link, rows)}
        except Exception as error:
            message = self._unknown_category(inputs) or str(error) or type(error).__name__
            raise InferenceError(message) from error

    def _unknown_category(self, inputs: Mapping[str, np.ndarray]) -> str | None:
        """A message about a category that an encoder refuses. The encoder's own names the column
        by a number that means nothing to the caller.
        """
        if not self._closed_columns:
            return None
        for column, name, values in self._inputs.named_columns(inputs):
            categories = self._closed_columns.get(column)
            present = {v for v in values.tolist() if v is not None and v == v}
            if categories and (unknown := present.difference(categories)):
                shown = repr(next(iter(unknown)))[:MAX_SHOWN_CHARACTERS]
                known = listed([str(category) for category in categories])
                return f"the model does not know {shown} in '{name}': it knows {known}"
        return None


def load(path: Path, options: LoadOptions) -> SklearnRuntime:
    """Load a `.skops` file; raises LoadError, also for types that are not trusted."""
    model, libraries = _read(path, sorted(TRUSTED_TYPES | options.trusted_types))
    if libraries["scikit-learn"] != sklearn.__version__:
        logger.warning(
            "%s was written by scikit-learn %s and is read by %s",
            path.name,
            libraries["scikit-learn"],
            sklearn.__version__,
        )
    try:
        _require_model(model)
        for part in parts_of(model):
            check_structure(part)
        inputs = read_inputs(model)
        # After the inputs were read, since this changes the attributes that they are read from.
        parts = list(parts_of(model))
        for part in parts:
            adapt_part(part)
        hazard = "; ".join(sorted({booster_hazard(part) for part in parts} - {""}))
        return SklearnRuntime(model, inputs, libraries, hazard)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"the model is damaged: {type(error).__name__}: {error}") from error


def read_object(path: Path, trusted_types: frozenset[str]) -> object:
    """The object in a `.skops` file as it was written, without the distributions of a search.

    Raises LoadError.
    """
    return _read(path, sorted(TRUSTED_TYPES | trusted_types))[0]


def _read(path: Path, trusted: list[str]) -> tuple[Estimator, dict[str, str]]:
    """The object in the file, not yet known to be an estimator, and the libraries that wrote it."""
    try:
        with ZipFile(path) as archive:
            schema = archive.read("schema.json")
        libraries = _written_by(schema) | import_boosters(schema)
        check_texts(schema)
        source: Path | BytesIO = path
        if has_distributions(schema):
            source = _rewritten(path, without_distributions(json.loads(schema)))
        with _warning_filters, warnings.catch_warnings():
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            return skops.io.load(source, trusted=trusted), libraries
    except UntrustedTypesFoundException as error:
        raise LoadError(_untrusted_message(source, trusted)) from error
    except LoadError:
        raise
    # A crafted file makes skops, zipfile, json and numpy raise nearly anything.
    except Exception as error:
        raise LoadError(f"skops cannot read the file: {type(error).__name__}: {error}") from error


def _rewritten(path: Path, schema: object) -> BytesIO:
    """The file with another schema."""
    rewritten = BytesIO()
    with ZipFile(path) as source, ZipFile(rewritten, "w") as target:
        for name in source.namelist():
            if name != "schema.json":
                target.writestr(name, source.read(name))
        target.writestr("schema.json", json.dumps(schema))
    return rewritten


def _untrusted_message(source: Path | BytesIO, trusted: list[str]) -> str:
    # The types of the file are only named, never passed to skops as trusted: that would trust any
    # file.
    names = sorted(set(skops.io.get_untrusted_types(file=source)) - set(trusted))
    if any(name.startswith("catboost.") for name in names):
        return (
            "the file contains a CatBoost model, which is loaded from its own format only: "
            "register it alone, from model.save_model('model.cbm')"
        )
    return (
        f"the file contains types that are not trusted: {listed(names)}. Review the code of a type "
        "and add it to the setting SKLEARN_TRUSTED_TYPES, or build the model without it"
    )


def _require_model(model: object) -> None:
    kind = type(model).__name__
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):
        raise LoadError(f"the file contains a {kind}, not an estimator")
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise LoadError(f"the {kind} is not fitted") from error
    if not hasattr(model, "predict") and not hasattr(model, "transform"):
        raise LoadError(
            f"{kind} neither predicts nor transforms new rows: send a model that does, or the "
            "whole pipeline"
        )


def _split_pipeline(model: Estimator) -> tuple[list[Transformer], Estimator]:
    """The transformers of a pipeline, also of nested ones, and the estimator behind them."""
    transformers: list[Transformer] = []
    while isinstance(model, Pipeline):
        *first, model = pipeline_steps(model) or [FunctionTransformer()]
        transformers += first
    return transformers, model


def _written_by(schema: bytes) -> dict[str, str]:
    """The versions of the libraries that wrote the file with this schema."""
    match = _SCHEMA_VERSION.search(schema)
    libraries = {"scikit-learn": match[1].decode() if match else sklearn.__version__}
    if match := _SKOPS_VERSION.search(schema):
        libraries["skops"] = match[1].decode()
    return libraries
