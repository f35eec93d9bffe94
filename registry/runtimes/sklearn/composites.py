"""The parts of scikit-learn's composite estimators. No Django here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer

Inner: TypeAlias = tuple[object, Sequence[int] | None]
"""An estimator inside another one, and the columns that it takes, None for all."""

# A fitted ensemble's `estimator_` is the template that was never fitted.
_INNER_ATTRIBUTES = ("best_estimator_", "estimators_", "estimator_", "regressor_")


def pipeline_steps(pipeline: Pipeline) -> list[Any]:
    """The steps that do something."""
    return [step for _, step in pipeline.steps if step is not None and step != "passthrough"]


def branches(transformer: ColumnTransformer) -> Iterator[tuple[object, list[int]]]:
    """Each fitted part with the indices of its columns, without the dropped columns."""
    indices: Mapping[str, Sequence[int]] = transformer._transformer_to_input_indices
    for name, part, _ in transformer.transformers_:
        if part != "drop":
            yield part, list(indices[name])


def union_parts(union: FeatureUnion) -> list[object]:
    """The parts that give something; "passthrough" is one of them."""
    return [part for _, part in union.transformer_list if part != "drop"]


def inner_estimators(model: object) -> list[Inner]:
    """The fitted estimators to which a meta-estimator passes its rows."""
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is not None:
        return [(preprocessor, None)]
    calibrated = getattr(model, "calibrated_classifiers_", None)
    if calibrated:
        return [(part.estimator, None) for part in calibrated]
    for name in _INNER_ATTRIBUTES:
        inner = getattr(model, name, None)
        if isinstance(inner, list):
            parts = [part for part in inner if hasattr(part, "fit")]
            columns = getattr(model, "estimators_features_", None) or [None] * len(parts)
            return [
                (part, None if indices is None else [int(i) for i in indices])
                for part, indices in zip(parts, columns, strict=True)
            ]
        if hasattr(inner, "fit"):
            return [(inner, None)]
    if type(model).__name__ == "FrozenEstimator":
        return [(getattr(model, "estimator"), None)]  # noqa: B009 - untyped library
    return []


def is_composite(part: object) -> bool:
    """Whether a part divides or prepares its columns, or is a meta-estimator over such parts."""
    return isinstance(part, Pipeline | ColumnTransformer | FeatureUnion) or any(
        is_composite(inner) for inner, _ in inner_estimators(part)
    )


def entries_of(model: object) -> Iterator[object]:
    """The innermost parts that receive the rows unchanged."""
    if isinstance(model, Pipeline):
        first = next(iter(pipeline_steps(model)), None)
        yield from () if first is None else entries_of(first)
    elif isinstance(model, FeatureUnion):
        for part in union_parts(model):
            yield from [FunctionTransformer()] if part == "passthrough" else entries_of(part)
    else:
        width = getattr(model, "n_features_in_", None)
        inner = [
            part
            for part, columns in inner_estimators(model)
            if columns is None or columns == [*range(width or 0)]
        ]
        # A meta-estimator over pipelines passes its rows on unchanged; one over plain estimators
        # takes what they take.
        composites = [part for part in inner if is_composite(part)]
        if composites:
            for part in composites:
                yield from entries_of(part)
        elif len(inner) == 1:
            yield from entries_of(inner[0])
        else:
            yield model
        # The final estimator of a stack may take all columns, too.
        if getattr(model, "passthrough", False):
            yield FunctionTransformer()


def is_float_check(part: object) -> bool:
    """Whether this is the step in which histogram boosting converts its numeric columns."""
    function = getattr(part, "func", None)
    keywords: Mapping[str, Sequence[type]] = getattr(function, "keywords", {})
    dtypes = keywords.get("dtype", ())
    return bool(dtypes) and all(np.dtype(dtype).kind == "f" for dtype in dtypes)
