"""What a fitted scikit-learn model takes, read from its attributes. No Django here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from registry.runtimes.base import LoadError
from registry.signatures.signature import Input

Layout: TypeAlias = Literal["tensor", "table", "objects", "text"]
"""How rows reach the model: one float array, a table of named columns, an array of objects, or one
text a row.
"""

Missing: TypeAlias = Literal["taken", "refused", "passed"]
"""What a step does with NaN: deal with it, raise, or hand it to the next step."""

_INNER_ATTRIBUTES = ("best_estimator_", "estimator_", "regressor_", "estimators_")


@dataclass(frozen=True, slots=True)
class Reading:
    """The inputs of a model, and how its rows are handed over."""

    layout: Layout
    inputs: tuple[Input, ...]


def read_inputs(model: Any) -> Reading:
    """The inputs of a fitted model; raises LoadError where the file does not tell their number."""
    entries = list(_entries(model))
    tags = [get_tags(entry).input_tags for entry in entries]
    if any(tag.dict for tag in tags):
        raise LoadError("the model takes dictionaries (DictVectorizer): use a ColumnTransformer")
    if entries and all(tag.string and not tag.two_d_array for tag in tags):
        return Reading("text", (Input("text", "BYTES", (-1,)),))
    names = _feature_names(model, entries)
    width = _width(model, entries, names)
    columns = (_datatypes(entry, width) for entry in entries)
    datatypes = [_merged(told) for told in zip(*columns, strict=True)]
    if all(datatype == "FP64" for datatype in datatypes):
        is_nullable = missing(model) == "taken"
        return Reading("tensor", (Input("features", "FP64", (-1, width), names, is_nullable),))
    every = names or tuple(f"x{i}" for i in range(width))
    used = _used(entries) if names else None
    inputs = tuple(
        Input(name, datatype, (-1,), nullable=datatype != "BYTES" and missing(model, i) == "taken")
        for i, (name, datatype) in enumerate(zip(every, datatypes, strict=True))
        if used is None or i in used
    )
    return Reading("table" if names else "objects", inputs)


def missing(model: Any, column: int | None = None) -> Missing:
    """What the model does with a NaN, in one column or in every one."""
    if isinstance(model, Pipeline):
        return _first_answer(missing(step, column if i == 0 else None) for i, step in _steps(model))
    if isinstance(model, ColumnTransformer):
        return _missing_in_columns(model, column)
    if isinstance(model, FunctionTransformer) and (model.func is None or _is_float_check(model)):
        return "passed"
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        return missing(best, column)
    inside = getattr(model, "estimators_", None)
    if inside is not None and isinstance(inside, list) and isinstance(inside[0], Pipeline):
        answers = [missing(part, column) for part in inside]
        return "taken" if all(answer == "taken" for answer in answers) else "refused"
    if not get_tags(model).input_tags.allow_nan or get_tags(model).input_tags.categorical:
        return "refused"
    has_end = hasattr(model, "predict") or isinstance(model, SimpleImputer | KNNImputer)
    return "taken" if has_end or type(model).__name__ == "IterativeImputer" else "passed"


def _first_answer(answers: Iterable[Missing]) -> Missing:
    return next((answer for answer in answers if answer != "passed"), "passed")


def _missing_in_columns(transformer: ColumnTransformer, column: int | None) -> Missing:
    answers: set[Missing] = set()
    for part, columns in _branches(transformer):
        for place, index in enumerate(columns):
            if column in (None, index):
                answers.add(missing(part, place))
    if "refused" in answers:
        return "refused"
    return "passed" if "passed" in answers else "taken"


# -- the way of a row into the model


def _entries(model: Any) -> Iterator[Any]:
    """The innermost parts that a row reaches unchanged."""
    if isinstance(model, Pipeline):
        first = next((step for _, step in _steps(model)), None)
        yield from () if first is None else _entries(first)
    elif isinstance(model, FeatureUnion):
        for _, part in model.transformer_list:
            if part not in ("drop", "passthrough"):
                yield from _entries(part)
    else:
        inside = _inside(model)
        # A meta-estimator over pipelines hands its rows on as they are; one over plain estimators
        # takes what they take.
        deeper = [part for part in inside if isinstance(part, Pipeline | ColumnTransformer)]
        if deeper:
            for part in deeper:
                yield from _entries(part)
        elif len(inside) == 1:
            yield from _entries(inside[0])
        else:
            yield model


def _inside(model: Any) -> list[Any]:
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
        return [model.estimator]
    return []


def _steps(pipeline: Pipeline) -> Iterator[tuple[int, Any]]:
    steps = [step for _, step in pipeline.steps if step is not None and step != "passthrough"]
    return iter(enumerate(steps))


def _branches(transformer: ColumnTransformer) -> Iterator[tuple[Any, list[int]]]:
    """Each fitted part with the indices of its columns; dropped columns are left out."""
    indices: Mapping[str, Sequence[int]] = transformer._transformer_to_input_indices
    for name, part, _ in transformer.transformers_:
        if part != "drop":
            yield part, list(indices[name])


def _used(entries: list[Any]) -> set[int] | None:
    """The columns that must be there, None for all: a ColumnTransformer ignores what it drops."""
    if not all(isinstance(entry, ColumnTransformer) for entry in entries):
        return None
    return {index for entry in entries for _, columns in _branches(entry) for index in columns}


# -- names and types


def _feature_names(model: Any, entries: list[Any]) -> tuple[str, ...]:
    for part in (model, *entries):
        names = getattr(part, "feature_names_in_", None)
        if names is not None:
            return tuple(str(name) for name in names)
    return ()


def _width(model: Any, entries: list[Any], names: tuple[str, ...]) -> int:
    for part in (model, *entries):
        width = getattr(part, "n_features_in_", None)
        if width is not None:
            return int(width)
    if any(get_tags(entry).input_tags.one_d_array for entry in entries):
        return 1
    if names:
        return len(names)
    raise LoadError("the file does not tell how many features the model takes: fit it again")


def _datatypes(part: Any, width: int) -> list[str | None]:
    """The datatype of each column as far as the part tells it; None where it does not."""
    if isinstance(part, Pipeline):
        first = next((step for _, step in _steps(part)), None)
        return [None] * width if first is None else _datatypes(first, width)
    if isinstance(part, ColumnTransformer):
        told: list[str | None] = [None] * width
        for branch, columns in _branches(part):
            inner = _branch_datatypes(branch, len(columns))
            for index, datatype in zip(columns, inner, strict=True):
                told[index] = datatype
        return told
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == width:
        return [_of_values(values) for values in categories]
    if isinstance(part, SimpleImputer):
        return [_of_values(np.asarray([value])) for value in part.statistics_]
    tags = get_tags(part)
    is_numeric = tags.input_tags.two_d_array or tags.input_tags.one_d_array
    if tags.input_tags.string or (tags.input_tags.categorical and not hasattr(part, "predict")):
        is_numeric = False
    return ["FP64" if is_numeric else None] * width


def _branch_datatypes(branch: Any, width: int) -> list[str | None]:
    if _is_float_check(branch):
        return ["FP64"] * width
    first = next(_entries(branch), None)
    # Columns that pass through may be anything that the next step takes.
    if first is None or (isinstance(first, FunctionTransformer) and first.func is None):
        return [None] * width
    tags = get_tags(first).input_tags
    if tags.string and not tags.two_d_array:
        return ["BYTES"] * width
    return _datatypes(first, width)


def _is_float_check(part: Any) -> bool:
    """Whether this is the step by which histogram boosting takes its columns that are numbers."""
    function = getattr(part, "func", None)
    checked: Any = getattr(function, "keywords", {}).get("dtype")
    return bool(checked) and all(np.dtype(dtype).kind == "f" for dtype in checked)


def _of_values(values: np.ndarray) -> str | None:
    """The datatype of a column in which an encoder or imputer has seen these values."""
    kinds = {"U": "BYTES", "b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}
    if values.dtype.kind != "O":
        return kinds.get(values.dtype.kind)
    present = [value for value in values if value is not None and value == value]
    for kind, datatype in ((str, "BYTES"), (bool, "BOOL")):
        if present and all(isinstance(value, kind) for value in present):
            return datatype
    return None


def _merged(told: tuple[str | None, ...]) -> str | None:
    return told[0] if len(set(told)) == 1 else None
