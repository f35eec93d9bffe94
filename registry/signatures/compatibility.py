"""Whether a model can replace another one whose callers stay the same. No Django here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from registry.signatures.narrowing import narrowed
from registry.signatures.signature import DTYPES, MAX_REPORTED_ERRORS, Input, Signature, listed


@dataclass(frozen=True, slots=True)
class CallerInput:
    """What a caller sends under one key of `input_data`."""

    key: str
    datatype: str
    shape: tuple[int, ...]
    nullable: bool


def incompatibilities(new: Signature, old: Signature) -> list[str]:
    """The reasons why `new` cannot score every input of `old`; empty if it can.

    `new` must have the same input names in the same order (because a row may be an object or a list
    of `features`), accept the same values and shapes, and allow null wherever `old` does. Floats of
    any precision are interchangeable. Constraints of `new` that reject a row must not be narrower.
    """
    sent, accepted = list(_inputs_by_name(old)), list(_inputs_by_name(new))
    if old.feature_names == ("features",) != new.feature_names:
        # The callers of `old` send a list, so names do not matter.
        sent_values, accepted_values = _inputs_by_position(old), _inputs_by_position(new)
        if sent_values and accepted_values and len(sent_values) != len(accepted_values):
            return [f"it takes {len(accepted_values)} values, not {len(sent_values)}"]
        if sent_values and accepted_values:
            sent, accepted = sent_values, accepted_values
    sent_keys, accepted_keys = [item.key for item in sent], [item.key for item in accepted]
    if sent_keys != accepted_keys:
        return [_name_difference(sent_keys, accepted_keys)]
    reasons = [
        f"input '{before.key}' {reason}"
        for before, after in zip(sent, accepted, strict=True)
        if (reason := _difference(after, before))
    ]
    if not reasons:
        narrower = narrowed(new.inputs, old.inputs)
        reasons = [f"input '{name}' {reason}" for name, reason in narrower]
    more = len(reasons) - MAX_REPORTED_ERRORS
    return reasons if more <= 0 else [*reasons[:MAX_REPORTED_ERRORS], f"and {more} more"]


def _inputs_by_name(signature: Signature) -> Iterator[CallerInput]:
    for tensor in signature.inputs:
        for key in tensor.keys:
            yield CallerInput(
                key, tensor.datatype or "FP64", _shape_of_key(tensor), tensor.nullable
            )


def _inputs_by_position(signature: Signature) -> list[CallerInput]:
    """One for each value of a `features` list; empty if the signature does not take such a list."""
    if any(len(tensor.row_shape) > 1 or -1 in tensor.row_shape for tensor in signature.inputs):
        return []
    values = (tensor for tensor in signature.inputs for _ in range(math.prod(tensor.row_shape)))
    return [
        CallerInput(f"features[{i}]", tensor.datatype or "FP64", (), tensor.nullable)
        for i, tensor in enumerate(values)
    ]


def _shape_of_key(tensor: Input) -> tuple[int, ...]:
    # A single value, whether the tensor is (-1,), (-1, 1) or a wider one with named columns.
    return () if tensor.features or tensor.is_scalar else tensor.row_shape


def _name_difference(sent: list[str], accepted: list[str]) -> str:
    if sorted(sent) == sorted(accepted):
        return f"it takes the same inputs in a different order: {listed(accepted)}"
    parts = []
    if unknown := [key for key in sent if key not in accepted]:
        parts.append(f"it does not take {listed(unknown)}")
    if missing := [key for key in accepted if key not in sent]:
        parts.append(f"it also needs {listed(missing)}")
    return " and ".join(parts)


def _difference(new: CallerInput, old: CallerInput) -> str:
    if not _accepts_shape(new.shape, old.shape):
        return f"has the shape {_describe_shape(new.shape)}, not {_describe_shape(old.shape)}"
    if not _accepts_datatype(new.datatype, old.datatype):
        return f"is {new.datatype}, not {old.datatype}"
    if old.nullable and not new.nullable:
        return "does not allow null, which callers may send now"
    return ""


def _accepts_shape(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    return len(new) == len(old) and all(
        size in (-1, before) for size, before in zip(new, old, strict=True)
    )


def _accepts_datatype(new: str, old: str) -> bool:
    """Whether every value of datatype `old` is valid for datatype `new`."""
    new_kind, old_kind = DTYPES[new].kind, DTYPES[old].kind
    if new_kind == old_kind and new_kind not in "iu":
        return True
    if old_kind not in "iu":
        return False
    if new_kind == "f":
        return True
    (new_min, new_max), (old_min, old_max) = _integer_range(new), _integer_range(old)
    return new_kind in "iu" and new_min <= old_min and old_max <= new_max


def _integer_range(datatype: str) -> tuple[int, int]:
    bits = DTYPES[datatype].itemsize * 8
    if datatype.startswith("U"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _describe_shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else "of a single value"
