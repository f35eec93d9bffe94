"""Whether a model can take over from another, whose callers stay the same. No Django here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from registry.signatures.signature import DTYPES, MAX_REPORTED_ERRORS, Input, Signature, listed


@dataclass(frozen=True, slots=True)
class Slot:
    """What a caller sends under one key of `input_data`."""

    key: str
    datatype: str
    shape: tuple[int, ...]
    nullable: bool


def refusals(new: Signature, old: Signature) -> list[str]:
    """Why `new` could not score inputs that `old` takes; empty where it can score all of them.

    Its inputs must have the same names in the same order (a row may come as an object or as a list
    of `features`), take the same kinds of value and shapes, and miss nothing that may be missing in
    the old ones. More precise or less precise floats are one kind.
    """
    wanted, offered = list(_slots(old)), list(_slots(new))
    if old.feature_names == ("features",) != new.feature_names:
        # Callers of the old one send a list, which tells no names.
        values, places = _places(old), _places(new)
        if values and places and len(values) != len(places):
            return [f"it takes {len(places)} values, not {len(values)}"]
        if values and places:
            wanted, offered = values, places
    names, taken = [slot.key for slot in wanted], [slot.key for slot in offered]
    if names != taken:
        return [_difference_of_names(names, taken)]
    reasons = [
        f"input '{before.key}' {reason}"
        for before, after in zip(wanted, offered, strict=True)
        if (reason := _difference(after, before))
    ]
    more = len(reasons) - MAX_REPORTED_ERRORS
    return reasons if more <= 0 else [*reasons[:MAX_REPORTED_ERRORS], f"and {more} more"]


def _slots(signature: Signature) -> Iterator[Slot]:
    for tensor in signature.inputs:
        for key in tensor.keys:
            yield Slot(key, tensor.datatype or "FP64", _shape_of_key(tensor), tensor.nullable)


def _places(signature: Signature) -> list[Slot]:
    """One slot a value of a `features` list; none where a signature takes no such list."""
    if any(len(tensor.row_shape) > 1 or -1 in tensor.row_shape for tensor in signature.inputs):
        return []
    values = (tensor for tensor in signature.inputs for _ in range(math.prod(tensor.row_shape)))
    return [
        Slot(f"features[{i}]", tensor.datatype or "FP64", (), tensor.nullable)
        for i, tensor in enumerate(values)
    ]


def _shape_of_key(tensor: Input) -> tuple[int, ...]:
    # One value, whether the tensor is (-1,) or (-1, 1), or a column of a wider one.
    return () if tensor.features or tensor.is_scalar else tensor.row_shape


def _difference_of_names(wanted: list[str], taken: list[str]) -> str:
    if sorted(wanted) == sorted(taken):
        return f"it takes the same inputs in another order: {listed(taken)}"
    parts = []
    if missing := [key for key in wanted if key not in taken]:
        parts.append(f"it does not take {listed(missing)}")
    if more := [key for key in taken if key not in wanted]:
        parts.append(f"it also needs {listed(more)}")
    return " and ".join(parts)


def _difference(new: Slot, old: Slot) -> str:
    if not _fits(new.shape, old.shape):
        return f"has the shape {_shown(new.shape)}, not {_shown(old.shape)}"
    if not _takes(new.datatype, old.datatype):
        return f"is {new.datatype}, not {old.datatype}"
    if old.nullable and not new.nullable:
        return "must not be null, which it may be now"
    return ""


def _fits(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    return len(new) == len(old) and all(
        size in (-1, before) for size, before in zip(new, old, strict=True)
    )


def _takes(new: str, old: str) -> bool:
    """Whether every value of one datatype is a value of the other; floats are all of one kind."""
    kind, before = DTYPES[new].kind, DTYPES[old].kind
    if kind == before and kind not in "iu":
        return True
    if before not in "iu":
        return False
    if kind == "f":
        return True
    return kind in "iu" and _range(new)[0] <= _range(old)[0] and _range(old)[1] <= _range(new)[1]


def _range(datatype: str) -> tuple[int, int]:
    bits = DTYPES[datatype].itemsize * 8
    return (
        (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else "of one value"
