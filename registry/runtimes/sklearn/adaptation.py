"""Changes to a loaded scikit-learn model that make it fit to serve. No Django here."""

from typing import Any

import numpy as np
import sklearn.utils.parallel
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.boosters import adapt_booster


def leave_warning_filters_alone() -> None:
    """Let the jobs of forests and other ensembles run as they are, in this process.

    For workers of its own, scikit-learn copies the caller's configuration and warning filters to
    each job: here for each tree of each call, in the same thread, which has both anyway. The
    filters belong to the whole process. Threads that predict at the same time restore each other's,
    until none are left, and from then on each tree writes a warning to the log.
    """
    wrapper: Any = getattr(sklearn.utils.parallel, "_FuncWrapper", None)
    if hasattr(wrapper, "with_config_and_warning_filters"):
        wrapper.with_config_and_warning_filters = lambda self, *_: self.function


def adapt_part(part: object) -> None:
    """Make one part of a model silent, single-threaded and independent of data frames.

    Raises LoadError for a part that would open files or draws random numbers in each call.
    """
    attributes = getattr(part, "__dict__", {})
    for name, value in (("n_jobs", 1), ("verbose", 0)):
        if name in attributes:
            setattr(part, name, value)
    if isinstance(part, CountVectorizer | HashingVectorizer) and part.input != "content":
        raise LoadError(
            f"a text vectorizer with input='{part.input}' reads files by name: use input='content'"
        )
    if attributes.get("sample_posterior") is True:
        raise LoadError(
            "an IterativeImputer with sample_posterior=True answers the same row differently each "
            "time: fit the model with sample_posterior=False"
        )
    # After `set_output`, every step would need the library of the data frame. The values are the
    # same, and so are their positions, by which columns are selected from here on.
    attributes.pop("_sklearn_output_config", None)
    if isinstance(part, ColumnTransformer):
        _select_by_position(part)
    if hasattr(part, "imputation_sequence_"):
        attributes["transform"] = _EmptyRowsAlone(part)
    # With names, an estimator would warn about an array in every call.
    attributes.pop("feature_names_in_", None)
    adapt_booster(part)


def _select_by_position(transformer: ColumnTransformer) -> None:
    """Let a fitted transformer take its columns from any array."""
    # A parameter such as `estimator` is never fitted.
    fitted = getattr(transformer, "transformers_", None)
    if fitted is None:
        return
    indices = transformer._transformer_to_input_indices
    transformer.transformers_ = [
        (name, part, _positions(columns, indices.get(name, ()))) for name, part, columns in fitted
    ]


def _positions(columns: object, indices: list[int]) -> int | list[int]:
    # A single name or number stands for an array of one dimension.
    is_single = isinstance(columns, str | int) and not isinstance(columns, bool)
    return int(indices[0]) if is_single else [int(index) for index in indices]


class _EmptyRowsAlone:
    """The `transform` of an IterativeImputer, which answers rows without any value as it does if
    there are no others. By itself it would go on to estimate them beside other rows.
    """

    def __init__(self, imputer: Any) -> None:
        self._imputer = imputer
        self._transform = imputer.transform

    def __call__(self, rows: Any) -> np.ndarray:
        values = np.asarray(rows, dtype=np.float64)
        marker = self._imputer.missing_values
        is_missing = np.isnan(values) if marker != marker else values == marker
        is_empty = is_missing.all(axis=1)
        imputed: np.ndarray = self._transform(values)
        if is_empty.any() and not is_empty.all():
            imputed[is_empty] = self._transform(values[is_empty])
        return imputed
