"""The columns of an export: what is recorded of each row, and its inputs by the signature."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self, TypeAlias

from registry.exact_json.values import JSONObject
from registry.signatures.masking import feature_rules
from registry.signatures.signature import DTYPES, Input, Signature

Inputs: TypeAlias = Literal["columns", "json", "both"]
INPUTS: Sequence[Inputs] = ("columns", "json", "both")

# The same prefix as import_predictions reads in CSV.
INPUT_PREFIX = "input."
INPUT_JSON = "input_data"
OUTCOME_PREFIX = "outcome."

JSON, TEXT, TIME, INTEGER, FLOAT = "JSON", "BYTES", "TIMESTAMP", "INT64", "FP64"
SIGNED = ("INT8", "INT16", "INT32", "INT64")
UNSIGNED = ("UINT8", "UINT16", "UINT32", "UINT64")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export.

    `datatype` is one of the Open Inference Protocol, TIMESTAMP, or JSON for JSON as text. With a
    `depth` above 0 its values are lists of them, nested this deep.
    """

    name: str
    datatype: str
    depth: int = 0
    masked: str = ""
    """How the log has the values: "hash" or "omit", if they are sensitive to any version."""

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        return cls(**document)

    def as_json(self) -> JSONObject:
        return asdict(self)


RECORDED_COLUMNS: Sequence[Column] = (
    Column("id", INTEGER),
    Column("created_at", TIME),
    Column("model_id", INTEGER),
    Column("model", TEXT),
    Column("version", TEXT),
    Column("status", TEXT),
    Column("prediction", FLOAT),
    Column("confidence", FLOAT),
    Column("output", JSON),
    Column("flags", JSON),
    Column("error", TEXT),
    Column("latency_ms", FLOAT),
    Column("metadata", JSON),
    Column("request_id", TEXT),
    Column("reference", TEXT),
    Column("subject", TEXT),
    Column("alias", TEXT),
    Column("arm", TEXT),
    Column("primary_id", INTEGER),
    Column("user", TEXT),
)
OUTCOME_COLUMNS: Sequence[Column] = (
    Column("outcome.value", FLOAT),
    Column("outcome.label", JSON),
    Column("outcome.observed_at", TIME),
)


def export_columns(signatures: Iterable[Signature], inputs: Inputs) -> list[Column]:
    """All columns of an export of versions with these signatures, in their order.

    `input_data` has the input as JSON: of every row, or with "columns" only of the rows that the
    input columns cannot hold exactly.
    """
    columns = [*RECORDED_COLUMNS, *OUTCOME_COLUMNS, Column(INPUT_JSON, JSON)]
    return columns if inputs == "json" else [*columns, *input_columns(signatures)]


def input_columns(signatures: Iterable[Signature]) -> list[Column]:
    """The columns of all features that the signatures name, in the order of their first use.

    Versions that share a feature share its column. If they disagree on its type, numbers become
    FP64, or the widest integer, and anything else becomes JSON.
    """
    merged: dict[str, Column] = {}
    for signature in signatures:
        for column in columns_of(signature):
            known = merged.get(column.name, column)
            merged[column.name] = _merge(known, column)
    return list(merged.values())


def columns_of(signature: Signature) -> list[Column]:
    """One column for each feature, and one of lists for an input tensor without feature names."""
    columns = []
    for tensor in signature.inputs:
        rules = feature_rules(tensor)
        columns += [_input_column(tensor, key, rules.get(key, "")) for key in tensor.keys]
    return columns


def _input_column(tensor: Input, key: str, masked: str) -> Column:
    name = f"{INPUT_PREFIX}{key}"
    if masked == "hash":
        return Column(name, TEXT, masked=masked)
    depth = 0 if tensor.features or tensor.is_scalar else len(tensor.row_shape)
    return Column(name, _datatype(tensor.datatype), depth, masked)


def _datatype(datatype: str | None) -> str:
    """Floats are always FP64: the log has the numbers that were sent, which FP32 would round."""
    if datatype is None:
        return JSON
    return FLOAT if DTYPES[datatype].kind == "f" else datatype


def _merge(one: Column, other: Column) -> Column:
    if one == other:
        return one
    masked = one.masked or other.masked
    if one.depth == other.depth:
        datatypes = {one.datatype, other.datatype}
        for family in (SIGNED, UNSIGNED):
            if datatypes <= set(family):
                return Column(one.name, max(datatypes, key=family.index), one.depth, masked)
        if datatypes <= {*SIGNED, *UNSIGNED, FLOAT}:
            return Column(one.name, FLOAT, one.depth, masked)
        if one.datatype == other.datatype:
            return Column(one.name, one.datatype, one.depth, masked)
    return Column(one.name, JSON, masked=masked)
