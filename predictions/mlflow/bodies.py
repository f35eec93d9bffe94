"""The bodies of `mlflow models serve`: a table or tensors in, `predictions` out. No ORM.

Formats are those of MLflow's scoring server: `dataframe_split`, `dataframe_records`, `instances`
and `inputs`, one of them in a body; and CSV with a line of names.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predictions.serving.outputs import Scored, cells_of_target, targets_of
from registry.exact_json.values import JSONObject
from registry.signatures.arrangement import InvalidInput
from registry.signatures.signature import DTYPES, Output, Signature

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ROW_PATH = re.compile(r"inputs\[(\d+)\](.*)", re.DOTALL)
_MISSING = frozenset({"", "NaN", "nan", "NA", "N/A", "null", "NULL", "None"})


@dataclass(frozen=True, slots=True)
class Invocation:
    """Rows of a body as `input_data`; `place` is where row i stands in the body, with `{}` for i.

    `is_frame` tells that the body is a table, as MLflow answers some models by records then.
    """

    inputs: list[JSONObject]
    place: str
    is_frame: bool

    def placed(self, errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Messages by path below `inputs[i]`, by their paths in the body."""
        return {self._path(path): said for path, said in errors.items()}

    def _path(self, path: str) -> str:
        match = _ROW_PATH.fullmatch(path)
        if match is None:
            return path
        return self.place.format(match[1]) + match[2].replace(".features[", "[", 1)


def read_body(body: object, signature: Signature, *, limit: int) -> Invocation:
    """The rows of a JSON body, at most `limit`; raises InvalidInput with the field.

    A row by name may have more columns than the model takes, as MLflow drops them; a model without
    names takes columns by their position.
    """
    if not isinstance(body, Mapping):
        raise _invalid("", f"Must be an object with one of {', '.join(FORMATS)}.")
    given = [name for name in FORMATS if name in body]
    unknown = sorted(str(key) for key in body.keys() - {*FORMATS, "params"})
    if unknown:
        raise InvalidInput(0, {key: ["Unknown field."] for key in unknown})
    if len(given) != 1:
        raise _invalid(given[-1] if given else "", f"Give one of {', '.join(FORMATS)}.")
    if body.get("params"):
        raise _invalid("params", "Must be empty: models take no parameters here.")
    name = given[0]
    if name == "dataframe_split":
        return _read_split(body[name], signature, limit)
    if name == "inputs" and isinstance(body[name], Mapping):
        return _read_columns(body[name], signature, limit)
    rows = _rows(body[name], name, limit)
    if name == "dataframe_records" and not all(isinstance(row, Mapping) for row in rows):
        raise _invalid(name, "Must be a list of objects, a column a member.")
    return Invocation(_inputs(rows, signature), f"{name}[{{}}]", name.startswith("dataframe"))


def read_csv(text: str, signature: Signature, *, limit: int) -> Invocation:
    """The rows of CSV after its line of names; raises InvalidInput.

    An empty cell is a missing value. What is no number where the model takes one stays text, for
    the signature to refuse.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise _invalid("", f"Not acceptable as CSV: {error}.") from error
    names, rows = (lines[0], lines[1:]) if lines else ([], [])
    types = {key: tensor.datatype for tensor in signature.inputs for key in tensor.keys}
    first = signature.inputs[0].datatype
    data = [
        [_cell(value, types.get(name, first)) for name, value in zip(names, row, strict=False)]
        for row in rows
        if len(row) == len(names)
    ]
    if len(data) != len(rows):
        raise _invalid("", f"Each line must have {len(names)} cells, as the first has.")
    split = _read_split({"columns": names, "data": data}, signature, limit)
    return Invocation(split.inputs, "line {}", is_frame=True)


def _cell(value: str, datatype: str | None) -> Any:
    kind = DTYPES[datatype or "FP64"].kind
    if kind == "O":
        return value or None
    if value in _MISSING:
        return None
    if kind == "b":
        return {"true": True, "false": False}.get(value.lower(), value)
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
            raise _invalid(f"{name}.columns", "Must be a list of different names.")
        for i, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(columns):
                raise _invalid(f"{name}.data[{i}]", f"Must be a list of {len(columns)} values.")
        names = list(map(str, columns))
        rows = [dict(zip(names, row, strict=True)) for row in rows]
    return Invocation(_inputs(rows, signature), f"{name}.data[{{}}]", is_frame=True)


def _read_columns(columns: Mapping[str, Any], signature: Signature, limit: int) -> Invocation:
    """Rows of one list a column, or of one tensor an input."""
    lengths = {len(values) if isinstance(values, list) else -1 for values in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise _invalid("inputs", "Must hold a list of values for each column, all of one length.")
    if not 0 < (length := lengths.pop()) <= limit:
        raise _invalid("inputs", f"Must hold 1 to {limit} rows, not {length}.")
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return Invocation(_inputs(rows, signature), "inputs[{}]", is_frame=False)


def _rows(value: object, place: str, limit: int) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= limit:
        raise _invalid(place, f"Must be a list of 1 to {limit} rows.")
    return value


def _inputs(rows: Sequence[Any], signature: Signature) -> list[JSONObject]:
    names = signature.feature_names
    known = set(names)
    tensor = signature.inputs[0]
    # Of a model without names for its columns, the tensor's own is the one there is.
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
                # What is missing and what is not known is the signature's to say.
                inputs.append(dict(row))
        elif is_nested:
            inputs.append({tensor.name: row})
        else:
            inputs.append({"features": row if isinstance(row, list) else [row]})
    return inputs


def _invalid(place: str, message: str) -> InvalidInput:
    return InvalidInput(0, {place or "non_field_errors": [message]})


# -- answers


def predictions_of(
    rows: Sequence[Scored], signature: Signature, origin: Mapping[str, Any], *, is_frame: bool
) -> Any:
    """What MLflow answers as `predictions` for the model whose `origin` registration noted.

    A label or a value a row, a list of them for several; the probabilities for a Booster of XGBoost
    or LightGBM; for ONNX each output by name, in records where the body was a table.
    """
    targets = targets_of(signature.outputs)
    if origin.get("flavor") == "onnx":
        records = [
            {
                output.name: value
                for target in targets
                for output, value in zip(
                    target, cells_of_target(target, row, len(targets)), strict=True
                )
            }
            for row in rows
        ]
        if is_frame:
            return records
        return {output.name: [row[output.name] for row in records] for output in signature.outputs}
    is_booster = str(origin.get("model_class", "")).endswith(".Booster")
    answers = [
        [
            _answer(target, cells_of_target(target, row, len(targets)), is_booster)
            for target in targets
        ]
        for row in rows
    ]
    return [row[0] for row in answers] if len(targets) == 1 else answers


def _answer(target: Sequence[Output], cells: Sequence[Any], is_booster: bool) -> Any:
    if is_booster and target[-1].kind == "probabilities":
        probabilities = cells[-1]
        # Of two classes, the second's.
        return probabilities[1] if len(probabilities) == 2 else probabilities
    return cells[0]
