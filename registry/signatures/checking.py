"""Checks arranged rows against the constraints of a signature. No Django here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from registry.signatures.constraints import WHOLE, Constraint, value_names
from registry.signatures.signature import DTYPES, MAX_REPORTED_ERRORS, Input, Signature
from registry.signatures.validation import describe_value

# Up to so many values, a loop is faster than numpy.
MAX_SINGLY = 16
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Violations:
    """What constraints say of n rows, by the place of the row.

    `errors` are those of rows to be rejected, by the name of the value. `flags` are texts such as
    `age:max`, the name and the constraint's kind, in the order of the signature. A row may be in
    both.
    """

    errors: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    flags: dict[int, list[str]] = field(default_factory=dict)


class Checks:
    """The constraints of one signature, prepared for any number of rows."""

    def __init__(self, signature: Signature) -> None:
        self._checks = [check for tensor in signature.inputs for check in _checks_of(tensor)]
        self._bounds = {
            tensor.name: bounds
            for tensor in signature.inputs
            if (bounds := _bounds_of(tensor, self._checks)) is not None
        }

    @classmethod
    def of(cls, signature: Signature) -> Self | None:
        """The checks of a signature; None if it has no constraints."""
        return cls(signature) if any(tensor.constraints for tensor in signature.inputs) else None

    def find(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Violations:
        """Compare rows, as `arrange` returns them, with all constraints.

        Floats are compared in the precision in which the model gets them. NaN and None violate only
        `required`.
        """
        found = Violations()
        # Usually everything is within its bounds, which one comparison of a table shows.
        within = {name for name, bounds in self._bounds.items() if bounds.are_kept(arrays[name])}
        for check in self._checks:
            if check.is_bound and check.input in within:
                continue
            array = arrays[check.input]
            values = array.reshape(len(array), -1)
            if check.position is not None:
                values = values[:, check.position : check.position + 1]
            violated = check.violated(values)
            if violated.any():
                check.report(values, violated, found)
        return found


@dataclass(frozen=True, slots=True)
class _Check:
    """A constraint on one value of an input's rows, or without `position` on all of them."""

    constraint: Constraint
    input: str
    name: str
    position: int | None
    limit: Any
    """As numpy compares it: a scalar or an array of the input's dtype, or a set among objects."""

    @property
    def is_bound(self) -> bool:
        return self.constraint.kind in ("min", "max")

    def violated(self, values: npt.NDArray[Any]) -> Mask:
        """Which of the values, of any shape, are not allowed."""
        if values.dtype == object:
            return self._violated_objects(values)
        is_float = values.dtype.kind == "f"
        match self.constraint.kind:
            case "min":
                return cast(Mask, values < self.limit)
            case "max":
                return cast(Mask, values > self.limit)
            case "values":
                unknown = np.isin(values, self.limit, invert=True)
                return cast(Mask, unknown & ~np.isnan(values) if is_float else unknown)
        return cast(Mask, np.isnan(values)) if is_float else np.zeros(values.shape, np.bool_)

    def _violated_objects(self, values: npt.NDArray[Any]) -> Mask:
        limit, items = self.limit, values.ravel().tolist()
        match self.constraint.kind:
            case "min":
                found = [item is not None and item < limit for item in items]
            case "max":
                found = [item is not None and item > limit for item in items]
            case "values":
                found = [item is not None and item not in limit for item in items]
            case _:
                found = [item is None for item in items]
        return np.array(found, np.bool_).reshape(values.shape)

    def report(self, values: npt.NDArray[Any], violated: Mask, found: Violations) -> None:
        for row in np.flatnonzero(violated.any(axis=1)).tolist():
            if self.constraint.on_violation == "flag":
                found.flags.setdefault(row, []).append(f"{self.name}:{self.constraint.kind}")
                continue
            errors = found.errors.setdefault(row, {})
            if len(errors) < MAX_REPORTED_ERRORS or self.name in errors:
                value = values[row, violated[row].argmax()]
                errors.setdefault(self.name, []).append(self._message(value))

    def _message(self, value: Any) -> str:
        shown = describe_value(value.item() if isinstance(value, np.generic) else value)
        limit = self.constraint.limit
        match self.constraint.kind:
            case "min":
                return f"Must be at least {limit}, not {shown}."
            case "max":
                return f"Must be at most {limit}, not {shown}."
            case "values":
                allowed = cast(tuple[object, ...], limit)
                known = ", ".join(map(describe_value, allowed[:MAX_REPORTED_ERRORS]))
                more = len(allowed) - MAX_REPORTED_ERRORS
                others = f" and {more} more" if more > 0 else ""
                return f"Must be one of {known}{others}, not {shown}."
        return "Must not be null: a value is required here."


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The strictest `min` and `max` of each value of an input's rows, of the input's dtype."""

    lowest: npt.NDArray[Any]
    highest: npt.NDArray[Any]

    def are_kept(self, array: npt.NDArray[Any]) -> bool:
        values = array.reshape(len(array), -1)
        if values.size > MAX_SINGLY:
            return not ((values < self.lowest) | (values > self.highest)).any()
        low, high = self.lowest.tolist(), self.highest.tolist()
        return not any(
            value < low[place % len(low)] or value > high[place % len(low)]
            for place, value in enumerate(values.ravel().tolist())
        )


def _bounds_of(tensor: Input, checks: Sequence[_Check]) -> _Bounds | None:
    """None if the input has no bounds, or if its dtype cannot hold them."""
    dtype = DTYPES[tensor.datatype or "FP64"]
    own = [check for check in checks if check.input == tensor.name and check.is_bound]
    if not own or dtype.kind not in "iuf" or (tensor.nullable and dtype.kind != "f"):
        return None
    width = max(1, len(value_names(tensor)))
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    lowest, highest = np.full(width, limits.min, dtype), np.full(width, limits.max, dtype)
    for check in own:
        if not limits.min <= check.limit <= limits.max:
            return None
        at = slice(None) if check.position is None else check.position
        if check.constraint.kind == "min":
            lowest[at] = np.maximum(lowest[at], check.limit)
        else:
            highest[at] = np.minimum(highest[at], check.limit)
    return _Bounds(lowest, highest)


def _checks_of(tensor: Input) -> list[_Check]:
    names = value_names(tensor)
    checks = []
    for constraint in tensor.constraints:
        limit = _limit(constraint, tensor)
        if constraint.feature != WHOLE:
            places: Sequence[tuple[str, int | None]] = [
                (constraint.feature, names.index(constraint.feature))
            ]
        elif tensor.features:
            places = [(name, position) for position, name in enumerate(names)]
        else:
            # One check for all values: an image has a million.
            places = [(tensor.name, None)]
        checks += [
            _Check(constraint, tensor.name, name, position, limit) for name, position in places
        ]
    return checks


def _limit(constraint: Constraint, tensor: Input) -> object:
    dtype = DTYPES[tensor.datatype or "FP64"]
    limit = constraint.limit
    if dtype.kind == "f" and constraint.kind != "required":
        # 0.1 in FP32 is greater than the double 0.1, and FP16 has no 100000.
        with np.errstate(over="ignore"):
            return np.asarray(limit, np.float64).astype(dtype)
    if isinstance(limit, tuple):
        return frozenset(limit) if tensor.nullable or dtype.kind == "O" else np.array(limit, dtype)
    return limit
