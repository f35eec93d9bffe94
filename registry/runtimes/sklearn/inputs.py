"""What a fitted scikit-learn model takes, read from its attributes. No Django here."""

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.composites import branches, is_float_check, pipeline_steps
from registry.runtimes.sklearn.layout import ModelInputs
from registry.runtimes.sklearn.missing_values import missing_value_handling
from registry.signatures.signature import Input

_INNER_ATTRIBUTES = ("best_estimator_", "estimator_", "regressor_", "estimators_")
_DATATYPES_BY_KIND = {"U": "BYTES", "b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}


def read_inputs(model: object) -> ModelInputs:
    """The inputs of a fitted model; raises LoadError if the file does not have their number."""
    entries = list(_entries(model))
    tags = [get_tags(entry).input_tags for entry in entries]
    if any(tag.dict for tag in tags):
        raise LoadError("the model takes dictionaries (DictVectorizer): use a ColumnTransformer")
    if entries and all(tag.string and not tag.two_d_array for tag in tags):
        return ModelInputs("text", (Input("text", "BYTES", (-1,)),))
    feature_names = _feature_names(model, entries)
    n_features = _n_features(model, entries, feature_names)
    datatypes = [
        _agreed(column)
        for column in zip(*(_datatypes(entry, n_features) for entry in entries), strict=True)
    ]
    if all(datatype == "FP64" for datatype in datatypes):
        nullable = missing_value_handling(model) == "accepted"
        features = Input("features", "FP64", (-1, n_features), feature_names, nullable)
        return ModelInputs("tensor", (features,))
    names = feature_names or tuple(f"x{i}" for i in range(n_features))
    used = _used_columns(entries) if feature_names else None
    inputs = tuple(
        Input(
            name,
            datatype,
            (-1,),
            nullable=datatype != "BYTES" and missing_value_handling(model, i) == "accepted",
        )
        for i, (name, datatype) in enumerate(zip(names, datatypes, strict=True))
        if used is None or i in used
    )
    return ModelInputs("table" if feature_names else "objects", inputs)


# -- the parts of a model that its rows reach first


def _entries(model: object) -> Iterator[object]:
    """The innermost parts that receive the rows unchanged."""
    if isinstance(model, Pipeline):
        first = next(iter(pipeline_steps(model)), None)
        yield from () if first is None else _entries(first)
    elif isinstance(model, FeatureUnion):
        for _, part in model.transformer_list:
            if part not in ("drop", "passthrough"):
                yield from _entries(part)
    else:
        inner = _inner_estimators(model)
        # A meta-estimator over pipelines passes its rows on unchanged; one over plain estimators
        # takes what they take.
        composites = [part for part in inner if isinstance(part, Pipeline | ColumnTransformer)]
        if composites:
            for part in composites:
                yield from _entries(part)
        elif len(inner) == 1:
            yield from _entries(inner[0])
        else:
            yield model


def _inner_estimators(model: object) -> list[object]:
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is not None:
        return [preprocessor]
    calibrated = getattr(model, "calibrated_classifiers_", None)
    if calibrated:
        return [part.estimator for part in calibrated]
    for name in _INNER_ATTRIBUTES:
        inner = getattr(model, name, None)
        if isinstance(inner, list):
            return [part for part in inner if hasattr(part, "fit")]
        if hasattr(inner, "fit"):
            return [inner]
    if type(model).__name__ == "FrozenEstimator":
        return [getattr(model, "estimator")]  # noqa: B009 - untyped library
    return []


def _used_columns(entries: list[object]) -> set[int] | None:
    """The columns that rows must have, None for all: a ColumnTransformer ignores those it drops."""
    if not all(isinstance(entry, ColumnTransformer) for entry in entries):
        return None
    return {index for entry in entries for _, columns in branches(entry) for index in columns}


# -- names and datatypes


def _feature_names(model: object, entries: list[object]) -> tuple[str, ...]:
    for part in (model, *entries):
        names = getattr(part, "feature_names_in_", None)
        if names is not None:
            return tuple(str(name) for name in names)
    return ()


def _n_features(model: object, entries: list[object], feature_names: tuple[str, ...]) -> int:
    for part in (model, *entries):
        n_features = getattr(part, "n_features_in_", None)
        if n_features is not None:
            return int(n_features)
    if any(get_tags(entry).input_tags.one_d_array for entry in entries):
        return 1
    if feature_names:
        return len(feature_names)
    raise LoadError(
        "the file does not contain how many features the model takes: fit the model again with "
        "this version of scikit-learn"
    )


def _datatypes(part: object, n_columns: int) -> Sequence[str | None]:
    """The datatype of each column, None if the part does not show it."""
    if isinstance(part, Pipeline):
        first = next(iter(pipeline_steps(part)), None)
        return [None] * n_columns if first is None else _datatypes(first, n_columns)
    if isinstance(part, ColumnTransformer):
        datatypes: list[str | None] = [None] * n_columns
        for branch, columns in branches(part):
            inner = _branch_datatypes(branch, len(columns))
            for index, datatype in zip(columns, inner, strict=True):
                datatypes[index] = datatype
        return datatypes
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == n_columns:
        return [_datatype_of_values(values) for values in categories]
    if isinstance(part, SimpleImputer):
        return [_datatype_of_values(np.asarray([value])) for value in part.statistics_]
    tags = get_tags(part)
    is_numeric = tags.input_tags.two_d_array or tags.input_tags.one_d_array
    if tags.input_tags.string or (tags.input_tags.categorical and not hasattr(part, "predict")):
        is_numeric = False
    return ["FP64" if is_numeric else None] * n_columns


def _branch_datatypes(branch: object, n_columns: int) -> Sequence[str | None]:
    if is_float_check(branch):
        return ["FP64"] * n_columns
    first = next(_entries(branch), None)
    # Columns that pass through may be anything that the next step takes.
    if first is None or (isinstance(first, FunctionTransformer) and first.func is None):
        return [None] * n_columns
    tags = get_tags(first).input_tags
    if tags.string and not tags.two_d_array:
        return ["BYTES"] * n_columns
    return _datatypes(first, n_columns)


def _datatype_of_values(values: np.ndarray) -> str | None:
    """The datatype of a column in which an encoder or imputer has seen these values."""
    if values.dtype.kind != "O":
        return _DATATYPES_BY_KIND.get(values.dtype.kind)
    present = [value for value in values if value is not None and value == value]
    for kind, datatype in ((str, "BYTES"), (bool, "BOOL")):
        if present and all(isinstance(value, kind) for value in present):
            return datatype
    return None


def _agreed(datatypes: tuple[str | None, ...]) -> str | None:
    """The datatype of a column that several parts take, None unless they agree."""
    return datatypes[0] if len(set(datatypes)) == 1 else None
