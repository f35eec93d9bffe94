"""Filling in what a model's file cannot tell, from a declared signature or from example rows. No
Django here.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from registry.signatures.arrangement import InvalidInput, cells_of
from registry.signatures.signature import (
    DTYPES,
    ClassLabel,
    Input,
    Output,
    Signature,
    SignatureError,
    label_datatype,
    listed,
)


def complete(
    told: Signature, declared: Signature | None, example: Sequence[object] = ()
) -> Signature:
    """The signature `told` by a file, filled in with what the file cannot tell.

    `declared` may name inputs, columns and classes, and give types and nullability; `example` rows
    (each an `input_data`) give the types that are still unknown. Raises SignatureError where they
    contradict the file, and where the type of a column stays unknown, naming it.
    """
    if declared is not None:
        own, wished = told.inputs, declared.inputs
        if declared.columns:
            own, wished = _of_columns(own, declared.columns)
        told = Signature(
            _merge_inputs(own, wished),
            _merge_outputs(told.outputs, declared.outputs),
        )
    if any(tensor.datatype is None for tensor in told.inputs):
        told = replace(told, inputs=_typed_by_rows(told, example))
    unknown = [tensor.name for tensor in told.inputs if tensor.datatype is None]
    if unknown:
        raise SignatureError(
            f"the file does not tell the type of {listed(unknown)}: send a signature "
            f'({{"inputs": [{{"name": "{unknown[0]}", "datatype": "FP64"}}]}}) or example rows'
        )
    return told


def _typed_by_rows(told: Signature, example: Sequence[object]) -> tuple[Input, ...]:
    rows = []
    for index, row in enumerate(example):
        try:
            rows.append(cells_of(told, row, index))
        except InvalidInput as error:
            raise SignatureError(f"example[{index}]: {error}") from error
    return tuple(
        tensor
        if tensor.datatype is not None
        else _typed_by_values(tensor, [row[i] for row in rows])
        for i, tensor in enumerate(told.inputs)
    )


def _of_columns(
    own: tuple[Input, ...], columns: tuple[Input, ...]
) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    """The inputs of a file, and what the columns of its training table declare of them.

    One tensor takes all columns, and their names. Of scalars each is a column, while columns that
    the model does not use are nobody's. A type is taken only where the file tells none.
    """
    if len(own) == 1 and len(own[0].shape) == 2:
        return _named_by_columns(own[0], columns)
    types = {tensor.name: tensor.datatype for tensor in own}
    declared = tuple(
        replace(column, datatype=None if types[column.name] else column.datatype)
        for column in columns
        if column.name in types
    )
    return own, declared


def _named_by_columns(
    tensor: Input, columns: tuple[Input, ...]
) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    names = tuple(column.name for column in columns)
    if len(names) != tensor.shape[1]:
        raise SignatureError(f"the model takes {tensor.shape[1]} columns, not {len(names)}")
    texts = [column.name for column in columns if column.datatype == "BYTES"]
    if texts and tensor.datatype not in (None, "BYTES"):
        raise SignatureError(f"the model takes numbers, but {listed(texts)} is text")
    # LightGBM writes names with blanks so.
    if tensor.features == tuple(re.sub(r"\s", "_", name) for name in names):
        tensor = replace(tensor, features=())
    is_nullable = any(column.nullable for column in columns)
    return (tensor,), (Input(tensor.name, None, (), names, is_nullable),)


def _merge_inputs(own: tuple[Input, ...], declared: tuple[Input, ...]) -> tuple[Input, ...]:
    by_name = {tensor.name: tensor for tensor in declared}
    unknown = [name for name in by_name if name not in {tensor.name for tensor in own}]
    if unknown:
        names = listed([tensor.name for tensor in own])
        raise SignatureError(f"the model has no input {listed(unknown)}: its inputs are {names}")
    return tuple(_merge_input(tensor, by_name.get(tensor.name)) for tensor in own)


def _merge_input(own: Input, declared: Input | None) -> Input:
    if declared is None:
        return own
    for what in ("datatype", "shape", "features"):
        told, wanted = getattr(own, what), getattr(declared, what)
        if what == "datatype" and told and wanted and _holds(told, wanted):
            continue
        if told and wanted and told != wanted:
            raise SignatureError(
                f"input {own.name}: {what} is {_plain(told)} in the file, not {_plain(wanted)}"
            )
    merged = replace(
        own,
        datatype=own.datatype or declared.datatype,
        features=own.features or declared.features,
        nullable=own.nullable or declared.nullable,
    )
    if merged.features and len(merged.features) != math.prod(own.row_shape):
        width = math.prod(own.row_shape)
        raise SignatureError(
            f"input {own.name}: has {width} columns in the file, not {len(merged.features)}"
        )
    if merged.nullable and merged.datatype is not None and DTYPES[merged.datatype].kind not in "fO":
        raise SignatureError(
            f"input {own.name}: {merged.datatype} has no missing value; declare FP64"
        )
    return merged


def _holds(told: str, wanted: str) -> bool:
    """Whether a number of the wanted datatype is exactly one of the told: an integer column that a
    scaler takes as FP64 may be declared as what it is.
    """
    kinds = DTYPES[told].kind + DTYPES[wanted].kind
    return set(kinds) <= set("iuf") and np.can_cast(DTYPES[wanted], DTYPES[told])


def _merge_outputs(own: tuple[Output, ...], declared: tuple[Output, ...]) -> tuple[Output, ...]:
    """Give names to classes that the file only numbers."""
    labels = [tensor for tensor in own if tensor.kind == "label"]
    for wish in declared:
        if not wish.classes or _is_told(own, wish):
            continue
        target = next((tensor for tensor in labels if tensor.name == wish.name), None)
        if not wish.name and len(labels) == 1:
            target = labels[0]
        if target is None:
            raise SignatureError(f"the model has no label output {wish.name}".rstrip())
        own = _name_classes(own, target, wish.classes)
    return own


def _is_told(own: tuple[Output, ...], wish: Output) -> bool:
    """Whether these are probabilities that a remote model has as they are declared."""
    return wish.kind == "probabilities" and any(
        (tensor.name, tensor.kind, tensor.classes) == (wish.name, wish.kind, wish.classes)
        for tensor in own
    )


def _name_classes(
    outputs: tuple[Output, ...], target: Output, classes: tuple[ClassLabel, ...]
) -> tuple[Output, ...]:
    # False is 0 to Python, but not to a caller.
    if classes == target.classes and label_datatype(classes) == target.datatype:
        return outputs
    if target.classes != tuple(range(len(target.classes))):
        raise SignatureError(
            f"output {target.name}: the classes in the file are {_plain(target.classes)}"
        )
    if len(classes) != len(target.classes):
        raise SignatureError(
            f"output {target.name}: has {len(target.classes)} classes, not {len(classes)}"
        )
    at = outputs.index(target)
    named = list(outputs)
    named[at] = replace(target, classes=classes, datatype=label_datatype(classes))
    if at + 1 < len(named) and named[at + 1].kind == "probabilities":
        named[at + 1] = replace(named[at + 1], classes=classes)
    return tuple(named)


def _typed_by_values(tensor: Input, values: list[Any]) -> Input:
    present = [value for value in values if value is not None]
    has_null = len(present) < len(values)
    if not present:
        return tensor
    if all(isinstance(value, bool) for value in present):
        datatype = "BOOL"
    elif all(isinstance(value, str) for value in present):
        datatype = "BYTES"
    elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        whole = all(isinstance(value, int) for value in present) and not has_null
        datatype = "INT64" if whole else "FP64"
    else:
        raise SignatureError(f"the example rows give {tensor.name} values of different types")
    if has_null and datatype == "BOOL":
        raise SignatureError(
            f"the example rows give {tensor.name} a missing boolean, which no datatype holds"
        )
    return replace(tensor, datatype=datatype, nullable=tensor.nullable or has_null)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
