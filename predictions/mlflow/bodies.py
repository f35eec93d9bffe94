"""The bodies of `mlflow models serve`: a table or tensors in, `predictions` out.

A JSON body has exactly one of the formats of MLflow's scoring server: `dataframe_split`,
`dataframe_records`, `instances` or `inputs`. A CSV body begins with a header.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from predictions.serving.answers import Answer, output_values, targets_of
from registry.exact_json.values import JSONObject
from registry.signatures.signature import DTYPES, Output, Signature
from registry.signatures.validation import InvalidInput

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ROW_PATH = re.compile(r"inputs\[(\d+)\](.*)", re.DOTALL)
_FLAGS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
_MISSING = frozenset({"", "NaN", "nan", "NA", "N/A", "null", "NULL", "None"})


@dataclass(frozen=True, slots=True)
class Invocation:
    """The rows of a body as `input_data`.

    `row_path` is the path of a row in the body, with `{}` in place of its index. `is_frame` is
    whether the body is a table: for some models MLflow then answers with records.
    """

    inputs: list[JSONObject]
    row_path: str
    is_frame: bool

    def in_body(self, errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Messages by path below `inputs[i]`, rewritten to paths in the body."""
        return {self._path_in_body(path): messages for path, messages in errors.items()}

    def _path_in_body(self, path: str) -> str:
        match = _ROW_PATH.fullmatch(path)
        if match is None:
            return path
        return self.row_path.format(match[1]) + match[2].replace(".features[", "[", 1)


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
    return Invocation(_inputs(rows, signature), f"{name}[{{}}]", name.startswith("dataframe"))


def read_csv(text: str, signature: Signature, *, limit: int) -> Invocation:
    """The rows of a CSV body below its header; raises InvalidInput.

    An empty cell is a missing value. A cell that should be a number but is not stays text, which
    the signature then rejects.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise _invalid("", f"The body is not valid CSV: {error}.") from error
    names, rows = (lines[0], lines[1:]) if lines else ([], [])
    types = {key: tensor.datatype for tensor in signature.inputs for key in tensor.keys}
    first = signature.inputs[0].datatype
    data = [
        [_cell(value, types.get(name, first)) for name, value in zip(names, row, strict=False)]
        for row in rows
        if len(row) == len(names)
    ]
    if len(data) != len(rows):
        raise _invalid("", f"Every line must have {len(names)} cells, like the header.")
    split = _read_split({"columns": names, "data": data}, signature, limit)
    return Invocation(split.inputs, "line {}", is_frame=True)


def _cell(value: str, datatype: str | None) -> object:
    kind = DTYPES[datatype or "FP64"].kind
    if kind == "O":
        return value or None
    if value in _MISSING:
        return None
    # pandas writes booleans like this; a text column keeps them as text.
    if (flag := _FLAGS.get(value)) is not None:
        return flag
    if kind == "b":
        return {"1": True, "0": False}.get(value, value)
    try:
        number = int(value) if len(value) < 20 and "." not in value else float(value)
    except ValueError:
        try:
            number = float(value)
        except ValueError:
            return value
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
    return Invocation(_inputs(rows, signature), f"{name}.data[{{}}]", is_frame=True)


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
    return Invocation(_inputs(rows, signature), "inputs[{}]", is_frame=False)


def _rows(value: object, place: str, limit: int) -> list[object]:
    if not isinstance(value, list) or not 0 < len(value) <= limit:
        raise _invalid(place, f"Must be a list of 1 to {limit} rows.")
    return value


def _inputs(rows: Sequence[object], signature: Signature) -> list[JSONObject]:
    names = signature.feature_names
    known = set(names)
    tensor = signature.inputs[0]
    # A model without column names has only the tensor's own name.
    is_unnamed = len(signature.inputs) == 1 and not tensor.features
    is_nested = is_unnamed and (len(tensor.row_shape) > 1 or -1 in tensor.row_shape)
    inputs: list[JSONObject] = []
    for row in rows:
        if isinstance(row, Mapping):
            if known <= row.keys():
                inputs.append({name: row[name] for name in names})
            elif is_unnamed:
                inputs.append({"features": list(row.values())})
            else:
                # The signature reports what is missing or unknown.
                inputs.append(dict(row))
        elif is_nested:
            inputs.append({tensor.name: row})
        else:
            inputs.append({"features": row if isinstance(row, list) else [row]})
    return inputs


def _invalid(place: str, message: str) -> InvalidInput:
    return InvalidInput(0, {place or "non_field_errors": [message]})


# -- responses


Style: TypeAlias = Literal["predictions", "booster", "records", "columns"]
"""The form of `predictions`: a label or value per row; what a Booster of XGBoost or LightGBM
returns, which are probabilities; one object per row, with all outputs by name; or one list per
output, by name.
"""


def style_of(origin: Mapping[str, object], *, is_frame: bool) -> Style:
    """The form in which MLflow answers for a model; `origin` is the content of the MLflow tag."""
    if origin.get("flavor") == "onnx":
        return "records" if is_frame else "columns"
    is_booster = str(origin.get("model_class", "")).endswith(".Booster")
    return "booster" if is_booster else "predictions"


def predictions_of(answers: Sequence[Answer], signature: Signature, style: Style) -> object:
    """The `predictions` of a response; for several targets, each row is a list of them."""
    targets = targets_of(signature.outputs)
    if style in ("records", "columns"):
        records = [_by_output(answer, targets) for answer in answers]
        if style == "records":
            return records
        return {output.name: [row[output.name] for row in records] for output in signature.outputs}
    rows = [
        [
            _prediction(target, output_values(answer, target, len(targets)), style == "booster")
            for target in targets
        ]
        for answer in answers
    ]
    return [row[0] for row in rows] if len(targets) == 1 else rows


def _by_output(answer: Answer, targets: Sequence[Sequence[Output]]) -> JSONObject:
    return {
        output.name: value
        for target in targets
        for output, value in zip(target, output_values(answer, target, len(targets)), strict=True)
    }


def _prediction(target: Sequence[Output], values: Sequence[object], is_booster: bool) -> object:
    if is_booster and target[-1].kind == "probabilities":
        probabilities = values[-1]
        assert isinstance(probabilities, list)
        # For two classes, a Booster returns the probability of the second.
        return probabilities[1] if len(probabilities) == 2 else probabilities
    return values[0]
