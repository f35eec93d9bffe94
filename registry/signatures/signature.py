"""A model's signature: its named, typed inputs and outputs, and their JSON form. No Django here.

Datatypes and shapes are those of the Open Inference Protocol (KServe's `inference_rest.md`): -1 is
a variable dimension, and every tensor's first dimension is the rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from registry.signatures.constraints import Constraints, constraints_as_json, parse_constraints
from registry.signatures.sensitivity import Sensitivity, parse_sensitivity, sensitivity_as_json

ClassLabel: TypeAlias = str | int | float | bool
Kind: TypeAlias = Literal["value", "label", "probabilities"]
Batching: TypeAlias = Literal["joined", "single", "unbatched"]
"""How rows may share a call of the model. "joined": any number of rows, since each row's answer is
the same alone and beside others. "single": one row a call. "unbatched": one row a call, and the
model's tensors have no dimension for rows, so a row is a complete set of them.
"""
BATCHING_EXPLANATIONS: Mapping[Batching | None, str] = {
    "joined": "Rows of concurrent requests share a call of the model: a row's answer is the same "
    "alone and beside others.",
    "single": "Each row is scored in a call of its own: the model answers rows differently beside "
    "others, or its owner declared it.",
    "unbatched": "One row is a complete set of the model's tensors, which have no dimension for "
    "rows.",
    None: "Each row is scored in a call of its own until manage.py reprove_models has examined how "
    "rows may share one.",
}

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

_FIELDS = {"inputs", "outputs", "classes", "columns", "batching"}
_INPUT_FIELDS = {"name", "datatype", "shape", "features", "nullable", "sensitive", "constraints"}

# Listing every missing feature of a wide model would take more space than the request did.
MAX_REPORTED_ERRORS = 20


class SignatureError(ValueError):
    """A signature is malformed, contradicts the file, or lacks the type of a column."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input tensor.

    `shape` is (-1,) for one value per row or (-1, k, ...) for more; () in a declared signature
    means "as in the file". `datatype` is None as long as it is unknown. `features` are the names of
    a (-1, k) tensor's columns, if they have any. If `nullable`, a JSON null is a missing value: NaN
    in a float tensor, None in any other, which then is an array of objects. The log does not have
    the values that are `sensitive`. Rows that violate `constraints` are rejected or flagged.

    Only in a signature from a file, `alternatives` are the datatypes that a declaration may choose
    instead of `datatype`, for the input or for single columns of a (-1, k) tensor. The runtime then
    takes each of the columns as an array of its own. With `has_spaces_replaced`, underscores in
    `name` may stand for whitespace, which a declaration restores: the runtime ignores the name.
    """

    name: str
    datatype: str | None = None
    shape: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    nullable: bool = False
    alternatives: tuple[str, ...] = field(default=(), compare=False)
    has_spaces_replaced: bool = field(default=False, compare=False)
    sensitive: Sensitivity = ()
    constraints: Constraints = ()

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def is_scalar(self) -> bool:
        """Whether it takes one value per row: (-1,), or (-1, 1) without column names."""
        return not self.features and all(size == 1 for size in self.row_shape)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of an `input_data` object that hold this tensor's values."""
        return self.features or (self.name,)


@dataclass(frozen=True, slots=True)
class Output:
    """An output tensor.

    Of kind "value", it holds plain numbers. Of kind "label", it holds the index of a classifier's
    chosen class in `classes`, while `datatype` is that of the class labels. Of kind
    "probabilities", it has one column per class and belongs to the "label" output before it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    kind: Kind = "value"
    classes: tuple[ClassLabel, ...] = ()

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def is_scalar(self) -> bool:
        """Whether it is one value per row: (-1,), (-1, 1) and so on."""
        return all(size == 1 for size in self.row_shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's inputs and outputs, in the order of its file."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...] = ()
    batching: Batching | None = None
    """None if it was never proved; such a model is served like a "single" one."""
    columns: tuple[Input, ...] = ()
    """Only in a declared signature: the columns of the table that the model was trained on. They
    may be grouped into tensors in any way, and the model may use only some of them.
    """
    feature_names: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """The keys of an `input_data` object, in the order of its `features` list."""

    def __post_init__(self) -> None:
        names = tuple(key for tensor in self.inputs for key in tensor.keys)
        object.__setattr__(self, "feature_names", names)

    @property
    def is_joinable(self) -> bool:
        """Whether one call of the model may score several rows."""
        return self.batching == "joined"

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Parse the output of `as_json`, or a declared signature.

        A declared signature may leave out everything except the names of inputs. Its top-level
        `classes` are those of a model with a single label, and it may have `columns` instead of
        `inputs`. Raises SignatureError with the path of the mistake.
        """
        body = _object(document, "signature", _FIELDS)
        inputs = tuple(
            _parse_input(item, f"inputs[{i}]")
            for i, item in enumerate(_list(body.get("inputs", []), "inputs"))
        )
        outputs = tuple(
            _parse_output(item, f"outputs[{i}]")
            for i, item in enumerate(_list(body.get("outputs", []), "outputs"))
        )
        if "classes" in body:
            if outputs:
                raise SignatureError("send either classes or outputs, not both")
            outputs = (Output("", "", (), "label", _parse_classes(body["classes"], "classes")),)
        columns = _parse_columns(body)
        _require_unique([key for tensor in inputs for key in tensor.keys], "feature")
        _require_unique([tensor.name for tensor in inputs], "input")
        _require_unique([tensor.name for tensor in outputs], "output")
        return cls(inputs, outputs, _parse_batching(body), columns)

    def as_json(self) -> dict[str, object]:
        return {
            "inputs": [
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": list(tensor.shape),
                    **({"features": list(tensor.features)} if tensor.features else {}),
                    **({"nullable": True} if tensor.nullable else {}),
                    **sensitivity_as_json(tensor.sensitive),
                    **constraints_as_json(tensor.constraints),
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
            **({"batching": self.batching} if self.batching else {}),
        }

    def sample(self) -> dict[str, np.ndarray]:
        """A synthetic row of ones, and of the text "a". Variable dimensions get length 1."""
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


def _parse_input(item: object, path: str) -> Input:
    body = _object(item, path, _INPUT_FIELDS)
    datatype = body.get("datatype")
    if datatype is not None and (not isinstance(datatype, str) or datatype not in DTYPES):
        raise SignatureError(f"{path}.datatype: must be one of {', '.join(DTYPES)}")
    nullable = body.get("nullable", False)
    if not isinstance(nullable, bool):
        raise SignatureError(f"{path}.nullable: must be true or false")
    features = tuple(
        _name(name, f"{path}.features")
        for name in _list(body.get("features", []), f"{path}.features")
    )
    return Input(
        _name(body.get("name"), f"{path}.name"),
        datatype,
        _parse_shape(body, path),
        features,
        nullable,
        sensitive=_parse_rules(parse_sensitivity, body, "sensitive", path),
        constraints=_parse_rules(parse_constraints, body, "constraints", path),
    )


def _parse_rules(
    parse: Callable[[object], tuple[Any, ...]], body: Mapping[str, object], name: str, path: str
) -> tuple[Any, ...]:
    try:
        return parse(body[name]) if name in body else ()
    except (TypeError, ValueError) as error:
        raise SignatureError(f"{path}.{name}: {error}".replace(": [", "[", 1)) from error


def _parse_columns(body: Mapping[str, object]) -> tuple[Input, ...]:
    columns = tuple(
        _parse_input(item, f"columns[{i}]")
        for i, item in enumerate(_list(body.get("columns", []), "columns"))
    )
    if columns and body.get("inputs"):
        raise SignatureError("send either inputs or columns, not both")
    if any(column.shape not in ((), (-1,)) or column.features for column in columns):
        raise SignatureError("columns: each must be one value per row, without shape or features")
    _require_unique([column.name for column in columns], "column")
    return columns


def _parse_batching(body: Mapping[str, object]) -> Batching | None:
    batching = body.get("batching")
    if batching not in (None, "joined", "single", "unbatched"):
        raise SignatureError("batching: must be joined, single or unbatched")
    return batching


def _parse_output(item: object, path: str) -> Output:
    body = _object(item, path, {"name", "datatype", "shape", "kind", "classes"})
    kind = body.get("kind", "label" if "classes" in body else "value")
    if kind not in ("value", "label", "probabilities"):
        raise SignatureError(f"{path}.kind: must be value, label or probabilities")
    classes = _parse_classes(body.get("classes", []), f"{path}.classes")
    datatype = body.get("datatype", "")
    if not isinstance(datatype, str) or (datatype and datatype not in DTYPES):
        raise SignatureError(f"{path}.datatype: must be one of {', '.join(DTYPES)}")
    return Output(
        _name(body.get("name"), f"{path}.name"), datatype, _parse_shape(body, path), kind, classes
    )


def _parse_shape(body: Mapping[str, object], path: str) -> tuple[int, ...]:
    sizes = _list(body.get("shape", []), f"{path}.shape")
    shape = tuple(
        size
        for size in sizes
        if isinstance(size, int) and not isinstance(size, bool) and (size == -1 or size > 0)
    )
    if len(shape) != len(sizes):
        raise SignatureError(
            f"{path}.shape: must be a list of positive sizes, with -1 for a variable one"
        )
    if shape and shape[0] != -1:
        raise SignatureError(f"{path}.shape: the first dimension must be -1, for the rows")
    return shape


def _parse_classes(value: object, path: str) -> tuple[ClassLabel, ...]:
    labels = _list(value, path)
    classes = tuple(label for label in labels if isinstance(label, str | int | float))
    if len(classes) != len(labels):
        raise SignatureError(f"{path}: must be a list of names or numbers")
    _require_unique([str(label) for label in classes], "class")
    return classes


def _object(value: object, path: str, known: set[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise SignatureError(f"{path}: must be an object")
    unknown = value.keys() - known
    if unknown:
        raise SignatureError(
            f"{path}: unknown {listed(sorted(unknown))}; allowed are {', '.join(sorted(known))}"
        )
    return value


def _list(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise SignatureError(f"{path}: must be a list")
    return value


def _name(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise SignatureError(f"{path}: must be a non-empty string")
    return value


def _require_unique(names: Sequence[str], what: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SignatureError(f"{what} {listed(sorted(repeated))} is listed twice")


def listed(names: Sequence[str]) -> str:
    """Quoted names for a message, shortened if there are too many to read."""
    shown = ", ".join(f"'{name}'" for name in names[:MAX_REPORTED_ERRORS])
    more = len(names) - MAX_REPORTED_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown
