"""Which columns of a file hold a version's features. No Django here."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from predictions.input_files.errors import FileRefused
from predictions.input_files.rows import FileRow
from registry.signatures.signature import Input, Signature, listed

# Exports have these columns, and so can be references.
INPUT_PREFIX = "input."

Convert = Callable[[Input, Any], Any]
"""The value of a cell that belongs to an input; raises ValueError."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read from a file, found by its header.

    A feature has a column of its name, also with the prefix "input." as in exports; a tensor
    without feature names has a column of lists, or one for each value, such as "features[0]". Of
    the other columns, only those that `others` names are read; those in `optional` may be missing.
    Raises FileRefused for columns that are missing, or that the header has twice.
    """

    signature: Signature
    header: Collection[str]
    others: Sequence[str] = ()
    optional: Collection[str] = ()
    names: list[str] = field(init=False)
    features: list[tuple[Input, str, list[int]]] = field(init=False)
    """Each input's features, and the places of their columns in `names`."""
    _other_places: list[int | None] = field(init=False)
    _text_places: list[int] = field(init=False)

    def __post_init__(self) -> None:
        names: dict[str, int] = {}
        features, missing = [], []
        for tensor in self.signature.inputs:
            for key in tensor.keys:
                found = self._find(tensor, key)
                missing += [] if found else [key]
                features.append(
                    (tensor, key, [names.setdefault(name, len(names)) for name in found])
                )
        for name in self.others:
            if name in self.header:
                names.setdefault(name, len(names))
            elif name not in self.optional:
                missing.append(name)
        if missing:
            raise FileRefused(f"The file has no column {listed(missing)}")
        if isinstance(self.header, Sequence):
            for name in names:
                if self.header.count(name) > 1:
                    raise FileRefused(f"The file has more than one column '{name}'")
        object.__setattr__(self, "names", list(names))
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "_other_places", [names.get(name) for name in self.others])
        texts = [places for tensor, _, places in features if tensor.datatype == "BYTES"]
        object.__setattr__(self, "_text_places", [place for places in texts for place in places])

    def _find(self, tensor: Input, key: str) -> list[str]:
        for name in (key, INPUT_PREFIX + key):
            if name in self.header:
                return [name]
        if tensor.features or len(tensor.row_shape) != 1:
            return []
        for prefix in ("", INPUT_PREFIX):
            names = [f"{prefix}{key}[{item}]" for item in range(tensor.row_shape[0])]
            if names and all(name in self.header for name in names):
                return names
        return []

    def input_of(self, cells: Sequence[Any], convert: Convert | None = None) -> Mapping[str, Any]:
        """The `input_data` of a row, whose cells are in the order of `names`; raises ValueError
        that names the column.
        """
        row: dict[str, Any] = {}
        for tensor, key, places in self.features:
            values = [cells[place] for place in places]
            if convert is not None:
                values = [
                    self._converted(convert, tensor, place, value)
                    for place, value in zip(places, values, strict=True)
                ]
            is_list = len(values) > 1 or self.names[places[0]].endswith("[0]")
            row[key] = values if is_list and not tensor.features else values[0]
        return row

    def others_of(self, cells: Sequence[Any]) -> tuple[Any, ...]:
        """The cells of `others`, in their order; None for those that the file does not have."""
        return tuple(None if place is None else cells[place] for place in self._other_places)

    def row_of(
        self,
        number: int,
        cells: Sequence[Any],
        others: tuple[Any, ...],
        convert: Convert | None = None,
    ) -> FileRow:
        """The row with that number; one that cannot be read says why."""
        for place in self._text_places:
            # JSON of a request cannot have it either, since databases refuse it.
            if _has_nul(cells[place]):
                error = f"column '{self.names[place]}': must not contain the character U+0000"
                return FileRow.unreadable(number, error, others)
        try:
            return FileRow(number, self.input_of(cells, convert), others)
        except ValueError as error:
            return FileRow.unreadable(number, str(error), others)

    def _converted(self, convert: Convert, tensor: Input, place: int, value: Any) -> Any:
        try:
            return convert(tensor, value)
        except ValueError as error:
            raise ValueError(f"column '{self.names[place]}': {error}") from error


def _has_nul(cell: Any) -> bool:
    """Whether a text, or one in a list, contains the character U+0000."""
    if isinstance(cell, list):
        return any(map(_has_nul, cell))
    return isinstance(cell, str) and "\0" in cell
