"""The request bodies of `mlflow models serve`, as rows of `input_data`.

A JSON body has exactly one of the formats of MLflow's scoring server: `dataframe_split`,
`dataframe_records`, `instances` or `inputs`. A CSV body begins with a header.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.exact_json.values import JSONObject
from registry.signatures.signature import DTYPES, Signature, listed
from registry.signatures.validation import InvalidInput

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# How the services name a row: the only one, or one of a batch.
_ROW_PATH = re.compile(r"(?:input_data|inputs\[(\d+)\])(.*)", re.DOTALL)
_FLAGS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
# The cells that `pandas.read_csv` takes for missing, by which MLflow reads CSV.
_MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
# What pandas reads as a number. Python itself would also take 1_000 and the digits of any script.
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
# The largest UINT64 and the smallest INT64 have 20 characters.
_MAX_INTEGER_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Invocation:
    """The rows of a body as `input_data`.

    `row_path` is the path of a row in the body, with `{}` in place of its index; for CSV, the index
    counts the rows below the header. `is_frame` is whether the body is a table: for some models
    MLflow then answers with records.
    """

    inputs: list[JSONObject]
    row_path: str
    is_frame: bool

    def in_body(self, errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Messages by path below `input_data` or `inputs[i]`, rewritten to paths in the body."""
        return {self._path_in_body(path): messages for path, messages in errors.items()}

    def _path_in_body(self, path: str) -> str:
        match = _ROW_PATH.fullmatch(path)
        if match is None:
            return path
        return self.row_path.format(match[1] or 0) + match[2].replace(".features[", "[", 1)


def read_body(body: object, signature: Signature, *, limit: int) -> Invocation:
    """The rows of a JSON body, at most `limit`; raises InvalidInput that names the field.

    Columns that the model does not take are dropped, as in MLflow. A model without column names
    takes columns by position.
    """
    if not isinstance(body, Mapping):
        raise _invalid("", f"Must be an object with one of {', '.join(FORMATS)}.")
    formats = [name for name in FORMATS if name in body]
    unknown = sorted(str(key) for key in body.keys() - {*FORMATS, "params"})
    if unknown:
        raise InvalidInput(0, {key: ["Unknown field."] for key in unknown})
    if len(formats) != 1:
        place = formats[-1] if formats else ""
        raise _invalid(place, f"Give exactly one of {', '.join(FORMATS)}.")
    if body.get("params"):
        raise _invalid("params", "Must be empty: mlapi does not support parameters.")
    name = formats[0]
    if name == "dataframe_split":
        return _read_split(body[name], signature, limit)
    if name == "inputs" and isinstance(body[name], Mapping):
        return _read_columns(body[name], signature, limit)
    rows = _rows(body[name], name, limit)
    if name == "dataframe_records" and not all(isinstance(row, Mapping) for row in rows):
        raise _invalid(name, "Must be a list of objects with one member per column.")
    return _invocation(rows, signature, f"{name}[{{}}]", is_frame=name.startswith("dataframe"))


def read_csv(text: str, signature: Signature, *, limit: int) -> Invocation:
    """The rows of a CSV body below its header; raises InvalidInput.

    What pandas takes for missing is missing, in columns of text too. A cell that should be a number
    but is not stays text, which the signature then rejects.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise _invalid("", f"The body is not valid CSV: {error}.") from error
    names, rows = (lines[0], lines[1:]) if lines else ([], [])
    if len(set(names)) < len(names):
        raise _invalid("", "The header must have distinct names.")
    if not 0 < len(rows) <= limit:
        raise _invalid("", f"Must have a header and 1 to {limit} rows, not {len(rows)}.")
    if not all(len(row) == len(names) for row in rows):
        raise _invalid("", f"Every line must have {len(names)} cells, like the header.")
    datatypes = {key: tensor.datatype for tensor in signature.inputs for key in tensor.keys}
    # A model without column names has only one.
    first = signature.inputs[0].datatype
    data = [
        {
            name: _cell(text, datatypes.get(name, first))
            for name, text in zip(names, row, strict=True)
        }
        for row in rows
    ]
    return _invocation(data, signature, "rows[{}]", is_frame=True)


def _cell(value: str, datatype: str | None) -> object:
    kind = DTYPES[datatype or "FP64"].kind
    if value in _MISSING:
        return None
    if kind == "O":
        return value
    # pandas writes booleans like this; a text column keeps them as text.
    if (flag := _FLAGS.get(value)) is not None:
        return flag
    if kind == "b":
        return {"1": True, "0": False}.get(value, value)
    if not _NUMBER.fullmatch(value):
        return value
    digits = value.strip()
    if len(digits) <= _MAX_INTEGER_LENGTH and digits.lstrip("+-").isdecimal():
        return int(digits)
    number = float(digits)
    return number if math.isfinite(number) else value


# -- rows


def _read_split(table: object, signature: Signature, limit: int) -> Invocation:
    name = "dataframe_split"
    if not isinstance(table, Mapping):
        raise _invalid(name, 'Must be an object {"columns": [...], "data": [[...]]}.')
    unknown = sorted(str(key) for key in table.keys() - {"columns", "index", "data"})
    if unknown:
        raise InvalidInput(0, {f"{name}.{key}": ["Unknown field."] for key in unknown})
    rows = _rows(table.get("data"), f"{name}.data", limit)
    columns = table.get("columns")
    if columns is not None:
        if not isinstance(columns, list) or len(set(map(str, columns))) < len(columns):
            raise _invalid(f"{name}.columns", "Must be a list of distinct names.")
        names = list(map(str, columns))
        rows = [_named_row(row, names, f"{name}.data[{i}]") for i, row in enumerate(rows)]
    return _invocation(rows, signature, f"{name}.data[{{}}]", is_frame=True)


def _named_row(row: object, names: Sequence[str], place: str) -> JSONObject:
    if not isinstance(row, list) or len(row) != len(names):
        raise _invalid(place, f"Must be a list of {len(names)} values.")
    return dict(zip(names, row, strict=True))


def _read_columns(columns: Mapping[str, object], signature: Signature, limit: int) -> Invocation:
    """Rows from one list per column, or one tensor per input."""
    lengths = {len(values) if isinstance(values, list) else -1 for values in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise _invalid("inputs", "Must have a list of values for each column, all equally long.")
    if not 0 < (length := lengths.pop()) <= limit:
        raise _invalid("inputs", f"Must have 1 to {limit} rows, not {length}.")
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return _invocation(rows, signature, "inputs[{}]", is_frame=False)


def _rows(value: object, place: str, limit: int) -> list[object]:
    if not isinstance(value, list) or not 0 < len(value) <= limit:
        raise _invalid(place, f"Must be a list of 1 to {limit} rows.")
    return value


def _invocation(
    rows: Sequence[object], signature: Signature, row_path: str, *, is_frame: bool
) -> Invocation:
    tensor = signature.inputs[0]
    # A model without column names has only the tensor's own name.
    is_unnamed = len(signature.inputs) == 1 and not tensor.features
    is_nested = is_unnamed and (len(tensor.row_shape) > 1 or -1 in tensor.row_shape)
    if is_unnamed and not is_nested:
        rows = _by_position(rows, tensor.name, row_path)
    known = set(signature.feature_names)
    inputs: list[JSONObject] = []
    for row in rows:
        if isinstance(row, Mapping):
            # If a column is missing, the signature reports it and the unknown ones.
            names = signature.feature_names if known <= row.keys() else row
            inputs.append({name: row[name] for name in names})
        elif is_nested:
            inputs.append({tensor.name: row})
        else:
            inputs.append({"features": row if isinstance(row, list) else [row]})
    return Invocation(inputs, row_path, is_frame)


def _by_position(rows: Sequence[object], own_name: str, row_path: str) -> list[object]:
    """Each object as a list, in the order of the first one's columns; other rows as they are.

    An object with the tensor's own name stays too. Raises InvalidInput for an object that has other
    columns than the first: MLflow makes one table of all of them.
    """
    columns = next((row for row in rows if isinstance(row, Mapping) and own_name not in row), {})
    lists: list[object] = []
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping) or own_name in row:
            lists.append(row)
            continue
        if row.keys() != columns.keys():
            message = f"Must have the columns of the first row, {listed(list(columns))}."
            raise _invalid(row_path.format(place), message)
        lists.append([row[name] for name in columns])
    return lists


def _invalid(place: str, message: str) -> InvalidInput:
    """The error of one place in the body, "" for all of it."""
    return InvalidInput(0, {place: [message]})
