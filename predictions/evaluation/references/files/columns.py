"""Which columns of a file hold a version's features, and the label."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from predictions.evaluation.references.errors import ReferenceRefused
from registry.exact_json.values import JSONObject, parse_json
from registry.signatures.signature import Input, Signature, listed

# Exports have these columns, and so can be references.
INPUT_PREFIX = "input."
METADATA = "metadata"

Convert = Callable[[Input, Any], Any]
"""The value of a cell that belongs to an input; raises ValueError."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read of a file, found by its header.

    A feature has a column of its name, also with the prefix "input." as in exports; a tensor
    without feature names has a column of lists, or one for each value, such as "features[0]". Other
    columns are not read, but for that of the metadata, if it is wanted and no feature has its name.
    Raises ReferenceRefused for columns that are missing.
    """

    signature: Signature
    header: Collection[str]
    label_column: str | None = None
    wants_metadata: bool = False
    names: list[str] = field(init=False)
    _features: list[tuple[Input, str, list[int]]] = field(init=False)

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
        if self.label_column is not None:
            missing += [] if self.label_column in self.header else [self.label_column]
            names.setdefault(self.label_column, len(names))
        if self.wants_metadata and METADATA in self.header and METADATA not in names:
            names[METADATA] = len(names)
        else:
            object.__setattr__(self, "wants_metadata", False)
        if missing:
            raise ReferenceRefused(f"The file has no column {listed(missing)}")
        object.__setattr__(self, "names", list(names))
        object.__setattr__(self, "_features", features)

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
        for tensor, key, places in self._features:
            values = [cells[place] for place in places]
            if convert is not None:
                values = [
                    self._converted(convert, tensor, place, value)
                    for place, value in zip(places, values, strict=True)
                ]
            is_list = len(values) > 1 or self.names[places[0]].endswith("[0]")
            row[key] = values if is_list and not tensor.features else values[0]
        return row

    def label_of(self, cells: Sequence[Any]) -> Any:
        if self.label_column is None:
            return None
        return cells[self.names.index(self.label_column)]

    def metadata_of(self, cells: Sequence[Any]) -> JSONObject | None:
        """The metadata of a row; raises ValueError."""
        return as_metadata(cells[self.names.index(METADATA)]) if self.wants_metadata else None

    def _converted(self, convert: Convert, tensor: Input, place: int, value: Any) -> Any:
        try:
            return convert(tensor, value)
        except ValueError as error:
            raise ValueError(f"column '{self.names[place]}': {error}") from error


def as_metadata(value: Any) -> JSONObject | None:
    """Metadata, which files have as an object, or as JSON in a text; raises ValueError."""
    if isinstance(value, str):
        value = parse_json(value.encode()) if value else None
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"column '{METADATA}': must be a JSON object")
    return value
