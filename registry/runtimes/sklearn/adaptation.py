"""Changes to a loaded scikit-learn model that make it fit to serve. No Django here."""

from collections.abc import Callable

import numpy as np
import pyarrow
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.preprocessing import FunctionTransformer

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.structure import parts_of


def adapt_part(part: object) -> None:
    """Make one part of a model silent, single-threaded and able to take pyarrow columns.

    Raises LoadError for a part that would open files.
    """
    attributes = getattr(part, "__dict__", {})
    for name, value in (("n_jobs", 1), ("verbose", 0)):
        if name in attributes:
            setattr(part, name, value)
    if isinstance(part, CountVectorizer | HashingVectorizer):
        if part.input != "content":
            raise LoadError(
                f"a text vectorizer with input='{part.input}' reads files by name: use "
                "input='content'"
            )
        part.decode = _Decoder(part.decode)
    # A "passthrough" of a ColumnTransformer, which scikit-learn itself supports for pandas only.
    if isinstance(part, FunctionTransformer) and part.func is None:
        part.func = _to_array


def forget_feature_names(model: object) -> None:
    """Remove the names with which an estimator would warn about an array in every call."""
    for part in parts_of(model):
        if not isinstance(part, ColumnTransformer):
            getattr(part, "__dict__", {}).pop("feature_names_in_", None)


def _to_array(rows: object) -> object:
    return np.asarray(rows) if isinstance(rows, pyarrow.Table) else rows


class _Decoder:
    """Decodes the scalars of a pyarrow column, which have no text methods, as texts."""

    def __init__(self, decode: Callable[[object], object]) -> None:
        self._decode = decode

    def __call__(self, document: object) -> object:
        if isinstance(document, pyarrow.Scalar):
            document = document.as_py()
        return self._decode(document)
