"""What a fitted scikit-learn model does with missing values. No Django here."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from registry.runtimes.sklearn.composites import branches, is_float_check, pipeline_steps

Handling: TypeAlias = Literal["accepted", "refused", "passed on"]
"""What a step does with NaN: handle it, raise, or hand it to the next step."""


def missing_value_handling(model: object, column: int | None = None) -> Handling:
    """What the model does with NaN in one column, or in any."""
    if isinstance(model, Pipeline):
        # Only the first step has the columns of the rows.
        return _first_decisive(
            missing_value_handling(step, column if i == 0 else None)
            for i, step in enumerate(pipeline_steps(model))
        )
    if isinstance(model, ColumnTransformer):
        return _handling_by_columns(model, column)
    if isinstance(model, FunctionTransformer) and (model.func is None or is_float_check(model)):
        return "passed on"
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        return missing_value_handling(best, column)
    inner = getattr(model, "estimators_", None)
    if inner is not None and isinstance(inner, list) and isinstance(inner[0], Pipeline):
        handlings = [missing_value_handling(part, column) for part in inner]
        return "accepted" if all(item == "accepted" for item in handlings) else "refused"
    tags = get_tags(model).input_tags
    if not tags.allow_nan or tags.categorical:
        return "refused"
    is_final = hasattr(model, "predict") or isinstance(model, SimpleImputer | KNNImputer)
    return "accepted" if is_final or type(model).__name__ == "IterativeImputer" else "passed on"


def _first_decisive(handlings: Iterable[Handling]) -> Handling:
    return next((handling for handling in handlings if handling != "passed on"), "passed on")


def _handling_by_columns(transformer: ColumnTransformer, column: int | None) -> Handling:
    handlings = {
        missing_value_handling(part, position)
        for part, columns in branches(transformer)
        for position, index in enumerate(columns)
        if column in (None, index)
    }
    if "refused" in handlings:
        return "refused"
    return "passed on" if "passed on" in handlings else "accepted"
