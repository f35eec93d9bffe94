"""The named, typed inputs and outputs of a model, and their JSON form.

Datatypes and shapes are those of the Open Inference Protocol (KServe's `inference_rest.md`): -1 is
a dimension that varies, and the first dimension of every tensor is the rows. No Django here.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

import numpy as np

ClassLabel: TypeAlias = str | int | float | bool
Kind: TypeAlias = Literal["value", "label", "probabilities"]

DTYPES: Mapping[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    **{
        f"{sign}INT{bits}": np.dtype(f"{sign}int{bits}".lower())
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
DATATYPES: Mapping[np.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}

# A list of every missing feature of a wide model would be longer than the request was.
MAX_REPORTED_ERRORS = 20


class SignatureError(ValueError):
    """A signature is malformed, contradicts the file, or leaves a column's type unknown."""


@dataclass(frozen=True, slots=True)
class Input:
    """One tensor that a model takes.

    `shape` is (-1,) for one value a row or (-1, k, ...) for more; () in a declared signature means
    "as in the file". `datatype` is None while nobody has said it. `features` names the k columns of
    a (-1, k) tensor, where they have names. Where `nullable`, a JSON null is a missing value: NaN
    in a float tensor, None in a text one.
    """

    name: str
    datatype: str | None = None
    shape: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    nullable: bool = False

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def is_scalar(self) -> bool:
        """One value a row, whether the tensor is (-1,) or (-1, 1) without column names."""
        return not self.features and math.prod(self.row_shape) == 1

    @property
    def keys(self) -> tuple[str, ...]:
        """The names under which an `input_data` object gives this tensor."""
        return self.features or (self.name,)


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor that a model answers.

    `kind` "value" holds numbers as they are. "label" holds, for a classifier, the index of the
    answered class in `classes`, whatever type the labels have (`datatype` is theirs).
    "probabilities" holds one column a class and belongs to the "label" output before it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    kind: Kind = "value"
    classes: tuple[ClassLabel, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and answers, in the order of its file."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...] = ()
    columns: tuple[Input, ...] = ()
    """Of a declared signature: the columns of the table the model was trained on, whatever tensors
    it takes them as, and more of them than it uses.
    """
    feature_names: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """The keys of an `input_data` object, in the order of its `features` list."""

    def __post_init__(self) -> None:
        names = tuple(key for tensor in self.inputs for key in tensor.keys)
        object.__setattr__(self, "feature_names", names)

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Read what `as_json` wrote, or what a caller declares: there, everything but the inputs'
        names may be left out, `classes` beside `inputs` names the classes of a model with one
        label, and `columns` may stand in the place of `inputs`.

        Raises SignatureError with the place of the mistake.
        """
        body = _object(document, "signature", {"inputs", "outputs", "classes", "columns"})
        inputs = tuple(
            _read_input(item, f"inputs[{i}]")
            for i, item in enumerate(_list(body.get("inputs", []), "inputs"))
        )
        outputs = tuple(
            _read_output(item, f"outputs[{i}]")
            for i, item in enumerate(_list(body.get("outputs", []), "outputs"))
        )
        if "classes" in body:
            if outputs:
                raise SignatureError("give either classes or outputs, not both")
            outputs = (Output("", "", (), "label", _read_classes(body["classes"], "classes")),)
        columns = _read_columns(body)
        _require_unique([key for tensor in inputs for key in tensor.keys], "feature")
        _require_unique([tensor.name for tensor in inputs], "input")
        _require_unique([tensor.name for tensor in outputs], "output")
        return cls(inputs, outputs, columns)

    def as_json(self) -> dict[str, Any]:
        return {
            "inputs": [
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": list(tensor.shape),
                    **({"features": list(tensor.features)} if tensor.features else {}),
                    **({"nullable": True} if tensor.nullable else {}),
                }
                for tensor in self.inputs
            ],
            "outputs": [
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": list(tensor.shape),
                    "kind": tensor.kind,
                    **({"classes": list(tensor.classes)} if tensor.classes else {}),
                }
                for tensor in self.outputs
            ],
        }

    def sample(self) -> dict[str, np.ndarray]:
        """One made-up row: ones, and the text "a". A dimension that varies is given length 1."""
        return {
            tensor.name: np.full(
                (1, *(abs(size) for size in tensor.row_shape)),
                "a" if tensor.datatype == "BYTES" else 1,
                dtype=DTYPES[tensor.datatype or "FP64"],
            )
            for tensor in self.inputs
        }


def label_datatype(classes: Sequence[ClassLabel]) -> str:
    """The datatype of a label output with these classes."""
    if all(isinstance(label, bool) for label in classes):
        return "BOOL"
    if any(isinstance(label, str) for label in classes):
        return "BYTES"
    return "FP64" if any(isinstance(label, float) for label in classes) else "INT64"


def _read_input(item: object, place: str) -> Input:
    body = _object(item, place, {"name", "datatype", "shape", "features", "nullable"})
    datatype = body.get("datatype")
    if datatype is not None and (not isinstance(datatype, str) or datatype not in DTYPES):
        raise SignatureError(f"{place}.datatype: must be one of {', '.join(DTYPES)}")
    nullable = body.get("nullable", False)
    if not isinstance(nullable, bool):
        raise SignatureError(f"{place}.nullable: must be true or false")
    features = tuple(
        _name(name, f"{place}.features")
        for name in _list(body.get("features", []), f"{place}.features")
    )
    return Input(
        _name(body.get("name"), f"{place}.name"),
        datatype,
        _read_shape(body, place),
        features,
        nullable,
    )


def _read_columns(body: Mapping[str, Any]) -> tuple[Input, ...]:
    columns = tuple(
        _read_input(item, f"columns[{i}]")
        for i, item in enumerate(_list(body.get("columns", []), "columns"))
    )
    if columns and body.get("inputs"):
        raise SignatureError("give either inputs or columns, not both")
    if any(column.shape not in ((), (-1,)) or column.features for column in columns):
        raise SignatureError("columns: each is one value a row, without shape and features")
    _require_unique([column.name for column in columns], "column")
    return columns


def _read_output(item: object, place: str) -> Output:
    body = _object(item, place, {"name", "datatype", "shape", "kind", "classes"})
    kind = body.get("kind", "label" if "classes" in body else "value")
    if kind not in ("value", "label", "probabilities"):
        raise SignatureError(f"{place}.kind: must be value, label or probabilities")
    classes = _read_classes(body.get("classes", []), f"{place}.classes")
    datatype = body.get("datatype", "")
    if not isinstance(datatype, str) or (datatype and datatype not in DTYPES):
        raise SignatureError(f"{place}.datatype: must be one of {', '.join(DTYPES)}")
    return Output(
        _name(body.get("name"), f"{place}.name"), datatype, _read_shape(body, place), kind, classes
    )


def _read_shape(body: Mapping[str, Any], place: str) -> tuple[int, ...]:
    shape = _list(body.get("shape", []), f"{place}.shape")
    if not all(
        isinstance(size, int) and not isinstance(size, bool) and (size == -1 or size > 0)
        for size in shape
    ):
        raise SignatureError(
            f"{place}.shape: must be a list of positive sizes, -1 for one that varies"
        )
    if shape and shape[0] != -1:
        raise SignatureError(f"{place}.shape: the first dimension is the rows, -1")
    return tuple(shape)


def _read_classes(value: object, place: str) -> tuple[ClassLabel, ...]:
    classes = _list(value, place)
    if not all(isinstance(label, str | int | float) for label in classes):
        raise SignatureError(f"{place}: must be a list of names or numbers")
    _require_unique([str(label) for label in classes], "class")
    return tuple(classes)


def _object(value: object, place: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SignatureError(f"{place}: must be an object")
    unknown = value.keys() - known
    if unknown:
        raise SignatureError(
            f"{place}: unknown {listed(sorted(unknown))}; it takes {', '.join(sorted(known))}"
        )
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise SignatureError(f"{place}: must be a list")
    return value


def _name(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise SignatureError(f"{place}: must be a non-empty text")
    return value


def _require_unique(names: Sequence[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SignatureError(f"{what} {listed(sorted(twice))} is named twice")


def listed(names: Sequence[str]) -> str:
    """Names quoted for a message, cut where they are too many to read."""
    shown = ", ".join(f"'{name}'" for name in names[:MAX_REPORTED_ERRORS])
    more = len(names) - MAX_REPORTED_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown
