"""Constraints on the values of inputs, as a signature declares them. No Django here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from registry.signatures.signature import Input

Kind: TypeAlias = Literal["min", "max", "values", "required"]
OnViolation: TypeAlias = Literal["reject", "flag"]
Value: TypeAlias = str | int | float | bool
Limit: TypeAlias = Value | tuple[Value, ...]

KINDS: Sequence[Kind] = ("min", "max", "values", "required")
ON_VIOLATION: Sequence[OnViolation] = ("reject", "flag")
WHOLE = ""
MAX_CONSTRAINTS = 1000
MAX_VALUES = 1000
# Above it, several integers share one float.
MAX_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class Constraint:
    """What one value of an input must be, and what happens to a row whose value is not.

    `limit` is the smallest or largest value allowed, inclusive, or the values allowed; True if a
    missing value is not. `feature` is a name as in `value_names`, or "" for each value of the
    input. Of a row that is rejected nothing is recorded; one that is flagged is answered.
    """

    kind: Kind
    limit: Limit
    on_violation: OnViolation = "reject"
    feature: str = WHOLE


Constraints: TypeAlias = tuple[Constraint, ...]


def parse_constraints(document: object) -> Constraints:
    """Read a list of objects such as `{"feature": "age", "min": 0, "on_violation": "flag"}`.

    An object may have several limits. Raises ValueError.
    """
    if not isinstance(document, list):
        raise ValueError("must be a list of objects")
    found: list[Constraint] = []
    for index, item in enumerate(document):
        try:
            found += _parse_item(item)
        except ValueError as error:
            raise ValueError(f"[{index}]: {error}") from error
    if len(found) > MAX_CONSTRAINTS:
        raise ValueError(f"has {len(found)} limits; at most {MAX_CONSTRAINTS} are allowed")
    return tuple(found)


def _parse_item(item: object) -> list[Constraint]:
    if not isinstance(item, Mapping):
        raise ValueError("must be an object")
    if unknown := item.keys() - {*KINDS, "feature", "on_violation"}:
        raise ValueError(
            f"unknown '{min(map(str, unknown))}'; allowed are feature, {', '.join(KINDS)} and "
            "on_violation"
        )
    feature = item.get("feature", WHOLE)
    if not isinstance(feature, str) or ("feature" in item and not feature):
        raise ValueError("feature must be the name of a feature")
    on_violation = item.get("on_violation", "reject")
    if on_violation not in ON_VIOLATION:
        raise ValueError("on_violation must be reject or flag")
    kinds = [kind for kind in KINDS if kind in item]
    if not kinds:
        raise ValueError(f"must have one of {', '.join(KINDS)}")
    return [Constraint(kind, _limit(kind, item[kind]), on_violation, feature) for kind in kinds]


def _limit(kind: Kind, value: object) -> Limit:
    if kind == "required":
        if value is not True:
            raise ValueError("required must be true, or left out")
        return True
    if kind == "values":
        if not isinstance(value, list) or not 0 < len(value) <= MAX_VALUES:
            raise ValueError(f"values must be a list of 1 to {MAX_VALUES} values")
        if not all(isinstance(item, str | int | float) for item in value):
            raise ValueError("values must be texts, numbers or booleans")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{kind} must be a number")
    return value


def constraints_as_json(constraints: Constraints) -> dict[str, object]:
    """The member `constraints` of an input; nothing if there are none."""
    items = [
        {
            **({"feature": constraint.feature} if constraint.feature else {}),
            constraint.kind: list(constraint.limit)
            if isinstance(constraint.limit, tuple)
            else constraint.limit,
            "on_violation": constraint.on_violation,
        }
        for constraint in constraints
    ]
    return {"constraints": items} if items else {}


def value_names(tensor: "Input") -> tuple[str, ...]:
    """What constraints call the values of one row: the names of features, the name of an input of
    one value, or `name[0]`, `name[1]` and so on. Empty if their number varies.
    """
    if tensor.features:
        return tensor.features
    if tensor.is_scalar:
        return (tensor.name,)
    if len(tensor.row_shape) != 1 or tensor.row_shape[0] == -1:
        return ()
    return tuple(f"{tensor.name}[{i}]" for i in range(tensor.row_shape[0]))


def checked_constraints(tensor: "Input", dtype: np.dtype) -> Constraints:
    """The input's constraints, with limits of its datatype; raises ValueError for one that cannot
    apply, or that contradicts another.
    """
    names = {WHOLE, *value_names(tensor)}
    checked: dict[tuple[str, Kind], Constraint] = {}
    for item in tensor.constraints:
        if item.feature not in names:
            raise ValueError(f"there is no feature '{item.feature}'")
        place = (item.feature, item.kind)
        if place in checked:
            raise ValueError(f"{_described(item)} is declared twice")
        limit = _typed(item, dtype)
        checked[place] = Constraint(item.kind, limit, item.on_violation, item.feature)
    for feature in {item.feature for item in checked.values()}:
        low, high = checked.get((feature, "min")), checked.get((feature, "max"))
        if low and high and cast(float, low.limit) > cast(float, high.limit):
            raise ValueError(f"{_described(low)} is greater than max")
    return tuple(checked.values())


def _typed(constraint: Constraint, dtype: np.dtype) -> Limit:
    limit = constraint.limit
    if constraint.kind == "required":
        return limit
    if isinstance(limit, tuple):
        return tuple(_typed_value(value, dtype, constraint) for value in limit)
    if dtype.kind not in "iuf":
        raise ValueError(f"{_described(constraint)}: only numbers can have one")
    return _typed_value(limit, dtype, constraint)


def _typed_value(value: Value, dtype: np.dtype, constraint: Constraint) -> Value:
    expected = {"O": "texts", "b": "true or false", "f": "numbers"}.get(dtype.kind, "whole numbers")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if dtype.kind == "f" and math.isfinite(value):
            return value
        is_exact = isinstance(value, int) or abs(value) <= MAX_EXACT_FLOAT
        if dtype.kind in "iu" and is_exact and int(value) == value:
            return int(value)
    elif isinstance(value, {"O": str, "b": bool}.get(dtype.kind, ())):
        return value
    raise ValueError(f"{_described(constraint)}: must be {expected}, not {value!r}")


def _described(constraint: Constraint) -> str:
    return f"{constraint.kind} of '{constraint.feature}'" if constraint.feature else constraint.kind
