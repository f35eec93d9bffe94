"""Recorded rows as one value for each feature, whichever way they were sent. No Django here."""

from collections.abc import Sequence
from typing import Any

from registry.signatures.arrangement import extract_cells
from registry.signatures.signature import Input, Signature
from registry.signatures.validation import InvalidInput


class FlatRows:
    """Reads rows of one signature."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._names = signature.feature_names
        # One value a feature, so that a list of features is the row.
        has_lists = any(not (tensor.features or tensor.is_scalar) for tensor in signature.inputs)
        self._is_flat = not has_lists and self._names != ("features",)
        self._list_width = _width_of_only_list(signature.inputs)

    def columns(self, rows: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """The cells of rows by feature, all None for a row that does not have these features."""
        columns = self._plain_columns(rows)
        if columns is not None:
            return columns
        nothing = [None] * len(self._names)
        flat = [row if (row := self.cells(each)) is not None else nothing for each in rows]
        return list(zip(*flat, strict=True)) if rows else [()] * len(self._names)

    def _plain_columns(self, rows: Sequence[Any]) -> Sequence[Sequence[Any]] | None:
        """The columns of rows that all have the names of the features, as nearly all logs do; None
        for others.
        """
        is_plain = self._is_flat and {dict}.issuperset(map(type, rows))
        if not is_plain or set(map(len, rows)) != {len(self._names)}:
            return None
        try:
            return [[row[name] for row in rows] for name in self._names]
        except KeyError:
            return None

    def cells(self, row: Any) -> Sequence[Any] | None:
        """The values in the order of the signature's `feature_names`, as they are; a list for a
        tensor without feature names. None if the row does not have these features.
        """
        if self._is_flat and type(row) is dict:
            if len(row) == 1 and type(features := row.get("features")) is list:
                return features if len(features) == len(self._names) else None
            if len(row) == len(self._names):
                try:
                    return [row[name] for name in self._names]
                except KeyError:
                    return None
        if self._list_width and type(row) is dict and len(row) == 1:
            # By far the most frequent of the general cases: one list of numbers.
            values = row.get("features")
            if type(values) is list and len(values) == self._list_width:
                return [values]
        try:
            cells = extract_cells(self._signature, row)
        except InvalidInput:
            return None
        return _flatten(self._signature, cells)


def _width_of_only_list(tensors: Sequence[Input]) -> int:
    """The length of the list that is the whole input; 0 if the input is anything else."""
    if len(tensors) != 1 or tensors[0].features or tensors[0].is_scalar:
        return 0
    sizes = tensors[0].row_shape
    return max(0, sizes[0]) if len(sizes) == 1 else 0


def _flatten(signature: Signature, cells: Sequence[Any]) -> Sequence[Any] | None:
    """Cells of tensors as cells of features: a tensor with feature names has one for each."""
    flat: list[Any] = []
    for tensor, cell in zip(signature.inputs, cells, strict=True):
        if not tensor.features:
            flat.append(_unwrap(cell) if tensor.is_scalar else cell)
        elif isinstance(cell, list) and len(cell) == len(tensor.features):
            flat += cell
        else:
            return None
    return flat


def _unwrap(cell: Any) -> Any:
    while isinstance(cell, list) and len(cell) == 1:
        [cell] = cell
    return cell
