"""Whether a model's constraints reject what callers of another may send. No Django here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from registry.signatures.constraints import WHOLE, Kind, value_names
from registry.signatures.signature import DTYPES, Input

Limits: TypeAlias = dict[Kind, Any]


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What an input accepts as one value of a row: its limits are those that reject."""

    name: str
    limits: Limits
    lowest: float
    highest: float
    is_nullable: bool


def narrowed(new: Sequence[Input], old: Sequence[Input]) -> list[tuple[str, str]]:
    """Which values that `old` accepts `new` would reject: the names of values, and reasons.

    Both take the same values, perhaps grouped into other tensors.
    """
    pairs = list(zip(_values(new), _values(old), strict=False))
    return [(after.name, reason) for after, before in pairs for reason in _reasons(after, before)]


def _values(inputs: Sequence[Input]) -> list[_Accepted]:
    return [
        _accepted(tensor, name)
        for tensor in inputs
        # An image counts as one value: only the limits of all its values can apply.
        for name in value_names(tensor) or (tensor.name,)
    ]


def _accepted(tensor: Input, name: str) -> _Accepted:
    limits: Limits = {}
    for item in tensor.constraints:
        if item.on_violation == "reject" and item.feature in (WHOLE, name):
            known = limits.get(item.kind)
            limits[item.kind] = item.limit if known is None else _both(item.kind, known, item.limit)
    dtype = DTYPES[tensor.datatype or "FP64"]
    lowest, highest = -math.inf, math.inf
    if dtype.kind in "iu":
        lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    if values := limits.get("values"):
        if dtype.kind in "iuf":
            lowest, highest = min(values), max(values)
    else:
        lowest, highest = limits.get("min", lowest), limits.get("max", highest)
    is_nullable = tensor.nullable and "required" not in limits
    return _Accepted(name, limits, lowest, highest, is_nullable)


def _both(kind: Kind, one: Any, other: Any) -> Any:
    """The limit that means both limits: of the whole input, and of one of its values."""
    if kind == "values":
        return tuple(value for value in one if value in other)
    return max(one, other) if kind == "min" else min(one, other)


def _reasons(new: _Accepted, old: _Accepted) -> list[str]:
    limits, reasons = new.limits, []
    if "min" in limits and old.lowest < limits["min"]:
        reasons.append(f"must be at least {limits['min']}, and callers may send less now")
    if "max" in limits and old.highest > limits["max"]:
        reasons.append(f"must be at most {limits['max']}, and callers may send more now")
    if "values" in limits and not set(old.limits.get("values", [None])) <= set(limits["values"]):
        reasons.append("must be one of a list of values, and callers may send others now")
    if "required" in limits and old.is_nullable:
        reasons.append("must not be null, which callers may send now")
    return reasons
