"""Completing a signature that was read from a model file, with a declared signature or example
rows. No Django here.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from registry.signatures.arrangement import extract_cells
from registry.signatures.constraints import checked_constraints
from registry.signatures.sensitivity import Sensitivity, merge_sensitivity
from registry.signatures.signature import (
    DTYPES,
    Batching,
    ClassLabel,
    Input,
    Output,
    Signature,
    SignatureError,
    label_datatype,
    listed,
)
from registry.signatures.validation import InvalidInput


def complete(
    from_file: Signature, declared: Signature | None, example: Sequence[object] = ()
) -> Signature:
    """Add to a file's signature what the file does not contain.

    `declared` can name inputs, columns and classes, and set types and nullability. The types that
    are still unknown are inferred from `example`, rows of `input_data`. Raises SignatureError if
    these contradict the file, or if the type of a column remains unknown.
    """
    signature = from_file
    if declared is not None:
        inputs, declared_inputs = signature.inputs, declared.inputs
        if declared.columns:
            inputs, declared_inputs = _match_columns(inputs, declared.columns)
        signature = Signature(
            _merge_inputs(inputs, declared_inputs),
            _merge_outputs(signature.outputs, declared.outputs),
            _merge_batching(signature.batching, declared.batching),
        )
    if any(map(_may_be_inferred, signature.inputs)):
        signature = replace(signature, inputs=_infer_types(signature, example))
    unknown = [tensor.name for tensor in signature.inputs if tensor.datatype is None]
    if unknown:
        raise SignatureError(
            f"the file does not contain the type of {listed(unknown)}: send a signature "
            f'({{"inputs": [{{"name": "{unknown[0]}", "datatype": "FP64"}}]}}) or example rows'
        )
    return replace(signature, inputs=tuple(map(_with_checked_constraints, signature.inputs)))


def _with_checked_constraints(tensor: Input) -> Input:
    try:
        constraints = checked_constraints(tensor, DTYPES[tensor.datatype or "FP64"])
    except ValueError as error:
        raise SignatureError(f"input {tensor.name}: constraints: {error}") from error
    return replace(tensor, constraints=constraints)


# -- inputs


def _match_columns(
    inputs: tuple[Input, ...], columns: tuple[Input, ...]
) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    """A file's inputs, and what the columns of its training table declare for them.

    A single matrix takes all columns and their names. Otherwise each input is one column, and
    columns that the model does not use are ignored. A column's type only counts if the file
    contains none, or allows this one as an alternative.
    """
    if len(inputs) == 1 and len(inputs[0].shape) == 2:
        return _name_matrix_columns(inputs[0], columns)
    inputs = _restore_spaces(inputs, columns)
    by_name = {tensor.name: tensor for tensor in inputs}
    declared = tuple(
        _declared_column(by_name[column.name], column)
        for column in columns
        if column.name in by_name
    )
    return inputs, declared


def _declared_column(tensor: Input, column: Input) -> Input:
    datatype = _counting_type(tensor, column)
    # MLflow calls every column of a frame with gaps optional, also one of a type without.
    nullable = column.nullable and _can_be_missing(datatype or tensor.datatype)
    return replace(column, datatype=datatype, nullable=nullable)


def _counting_type(tensor: Input, column: Input) -> str | None:
    is_possible = tensor.datatype is None or column.datatype in tensor.alternatives
    return column.datatype if is_possible else None


def _name_matrix_columns(
    tensor: Input, columns: tuple[Input, ...]
) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    names = tuple(column.name for column in columns)
    if len(names) != tensor.shape[1]:
        raise SignatureError(f"the model takes {tensor.shape[1]} columns, not {len(names)}")
    texts = [column.name for column in columns if column.datatype == "BYTES"]
    if texts and tensor.datatype not in (None, "BYTES"):
        raise SignatureError(f"the model takes numbers, but {listed(texts)} is text")
    # LightGBM replaces whitespace in column names with underscores.
    if tensor.features == tuple(re.sub(r"\s", "_", name) for name in names):
        tensor = replace(tensor, features=())
    if "BOOL" in tensor.alternatives and any(column.datatype == "BOOL" for column in columns):
        _require_same(tensor, "features", tensor.features, names)
        return _split_matrix(tensor, columns)
    is_nullable = any(column.nullable for column in columns)
    sensitive = tuple((column.name, rule) for column in columns for _, rule in column.sensitive)
    constraints = tuple(
        replace(item, feature=column.name) for column in columns for item in column.constraints
    )
    declared = Input(
        tensor.name, None, (), names, is_nullable, sensitive=sensitive, constraints=constraints
    )
    return (tensor,), (declared,)


def _split_matrix(
    tensor: Input, columns: tuple[Input, ...]
) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    """One input for each column: no matrix of numbers has room for `true`."""
    inputs = tuple(
        replace(tensor, name=column.name, shape=(-1,), features=()) for column in columns
    )
    declared = tuple(replace(column, datatype=_counting_type(tensor, column)) for column in columns)
    return inputs, declared


def _merge_inputs(inputs: tuple[Input, ...], declared: tuple[Input, ...]) -> tuple[Input, ...]:
    by_name = {tensor.name: tensor for tensor in declared}
    names = [tensor.name for tensor in inputs]
    if unknown := [name for name in by_name if name not in names]:
        is_matrix = len(inputs) == 1 and bool(inputs[0].alternatives) and not inputs[0].is_scalar
        advice = "; declare its columns as columns instead of inputs" if is_matrix else ""
        raise SignatureError(
            f"the model has no input {listed(unknown)}: its inputs are {listed(names)}{advice}"
        )
    return tuple(_merge_input(tensor, by_name.get(tensor.name)) for tensor in inputs)


def _merge_input(tensor: Input, declared: Input | None) -> Input:
    if declared is None:
        return tensor
    is_alternative = tensor.is_scalar and declared.datatype in tensor.alternatives
    if not (is_alternative or _can_represent(tensor.datatype, declared.datatype)):
        _require_same(tensor, "datatype", tensor.datatype, declared.datatype)
    _require_same(tensor, "shape", tensor.shape, declared.shape)
    _require_same(tensor, "features", tensor.features, declared.features)
    merged = replace(
        tensor,
        datatype=declared.datatype if is_alternative else tensor.datatype or declared.datatype,
        features=tensor.features or declared.features,
        nullable=tensor.nullable or declared.nullable,
        sensitive=_merge_sensitive(tensor, declared),
        constraints=(*tensor.constraints, *declared.constraints),
        # Example rows do not overrule a declaration.
        alternatives=() if declared.datatype else tensor.alternatives,
    )
    width = math.prod(tensor.row_shape)
    if merged.features and len(merged.features) != width:
        raise SignatureError(
            f"input {tensor.name}: has {width} columns in the file, not {len(merged.features)}"
        )
    # A runtime that reads integers and booleans from objects says itself that it is nullable.
    if merged.nullable and not tensor.nullable and not _can_be_missing(merged.datatype):
        raise SignatureError(
            f"input {tensor.name}: {merged.datatype} cannot hold missing values; declare FP64"
        )
    return merged


def _merge_sensitive(tensor: Input, declared: Input) -> Sensitivity:
    try:
        features = tensor.features or declared.features
        return merge_sensitivity(tensor.sensitive, declared.sensitive, features)
    except ValueError as error:
        raise SignatureError(f"input {tensor.name}: {error}") from error


def _can_be_missing(datatype: str | None) -> bool:
    return datatype is None or DTYPES[datatype].kind in "fO"


def _require_same(tensor: Input, attribute: str, in_file: object, declared: object) -> None:
    """Raise SignatureError if both are known and differ."""
    if in_file and declared and in_file != declared:
        raise SignatureError(
            f"input {tensor.name}: {attribute} is {_as_list(in_file)} in the file,"
            f" not {_as_list(declared)}"
        )


def _can_represent(in_file: str | None, declared: str | None) -> bool:
    """Whether the file's datatype represents every number of the declared one exactly.

    An integer column that a scaler takes as FP64 may be declared as the integer that it is.
    """
    if in_file is None or declared is None:
        return False
    kinds = DTYPES[in_file].kind + DTYPES[declared].kind
    return set(kinds) <= set("iuf") and np.can_cast(DTYPES[declared], DTYPES[in_file])


def _merge_batching(in_file: Batching | None, declared: Batching | None) -> Batching | None:
    if declared is None or declared == in_file:
        return in_file
    if declared == "unbatched":
        raise SignatureError("batching: only an ONNX graph can be unbatched")
    if in_file == "unbatched":
        raise SignatureError(
            "batching: the graph has no dimension for rows, so it can only be unbatched"
        )
    if (in_file, declared) == ("single", "joined"):
        raise SignatureError(
            "batching: the answer for a row depends on the rows beside it, so it is single"
        )
    return declared


def _restore_spaces(inputs: tuple[Input, ...], columns: tuple[Input, ...]) -> tuple[Input, ...]:
    """The inputs with the names of their columns, in which LightGBM replaces whitespace with
    underscores.
    """
    originals = {re.sub(r"\s", "_", column.name): column.name for column in columns}
    return tuple(
        replace(tensor, name=originals.get(tensor.name, tensor.name))
        if tensor.has_spaces_replaced
        else tensor
        for tensor in inputs
    )


# -- types from example rows


def _infer_types(signature: Signature, example: Sequence[object]) -> tuple[Input, ...]:
    rows = []
    for index, row in enumerate(example):
        try:
            rows.append(extract_cells(signature, row, index))
        except InvalidInput as error:
            raise SignatureError(f"example[{index}]: {error}") from error
    return tuple(
        _infer_type(tensor, [cells[i] for cells in rows]) if _may_be_inferred(tensor) else tensor
        for i, tensor in enumerate(signature.inputs)
    )


def _may_be_inferred(tensor: Input) -> bool:
    """Whether example rows may set the type: it is unknown, or a category that may be a number."""
    return tensor.datatype is None or (tensor.datatype == "BYTES" and bool(tensor.alternatives))


def _infer_type(tensor: Input, values: Sequence[object]) -> Input:
    present = [value for value in values if value is not None]
    has_null = len(present) < len(values)
    if not present:
        return tensor
    if all(isinstance(value, bool) for value in present):
        datatype = "BOOL"
    elif all(isinstance(value, str) for value in present):
        datatype = "BYTES"
    elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        is_integer = all(isinstance(value, int) for value in present) and not has_null
        datatype = "INT64" if is_integer else "FP64"
    else:
        raise SignatureError(f"the example rows have values of different types for {tensor.name}")
    if tensor.datatype is not None:
        return replace(tensor, datatype=datatype) if datatype in tensor.alternatives else tensor
    if has_null and datatype == "BOOL":
        raise SignatureError(
            f"the example rows have a missing boolean for {tensor.name}; no datatype allows one"
        )
    return replace(tensor, datatype=datatype, nullable=tensor.nullable or has_null)


# -- outputs


def _merge_outputs(outputs: tuple[Output, ...], declared: tuple[Output, ...]) -> tuple[Output, ...]:
    """Give names to classes that the file only numbers."""
    labels = [tensor for tensor in outputs if tensor.kind == "label"]
    for declaration in declared:
        if not declaration.classes or _is_in_file(outputs, declaration):
            continue
        target = next((tensor for tensor in labels if tensor.name == declaration.name), None)
        if not declaration.name and len(labels) == 1:
            target = labels[0]
        if target is None:
            raise SignatureError(f"the model has no label output {declaration.name}".rstrip())
        outputs = _name_classes(outputs, target, declaration.classes)
    return outputs


def _is_in_file(outputs: tuple[Output, ...], declaration: Output) -> bool:
    """Whether a remote model already has these probabilities exactly as declared."""
    return declaration.kind == "probabilities" and any(
        (tensor.name, tensor.kind, tensor.classes)
        == (declaration.name, declaration.kind, declaration.classes)
        for tensor in outputs
    )


def _name_classes(
    outputs: tuple[Output, ...], target: Output, classes: tuple[ClassLabel, ...]
) -> tuple[Output, ...]:
    # The datatypes are compared as well, because False == 0 in Python.
    if classes == target.classes and label_datatype(classes) == target.datatype:
        return outputs
    if target.classes != tuple(range(len(target.classes))):
        raise SignatureError(
            f"output {target.name}: the classes in the file are {_as_list(target.classes)}"
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


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
