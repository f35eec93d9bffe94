"""The schemas of /v2 in the OpenAPI document, with examples."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from registry.signatures.signature import DTYPES

Schema: TypeAlias = dict[str, object]
"""A JSON Schema, as drf-spectacular takes it."""

TEXT: Schema = {"type": "string"}
SHAPE: Schema = {"type": "array", "items": {"type": "integer"}}
DATATYPE: Schema = {"type": "string", "enum": list(DTYPES)}
PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"oneOf": [TEXT, {"type": "number"}, {"type": "boolean"}]},
}


def _object(
    properties: Mapping[str, Schema],
    *,
    required: Sequence[str] = (),
    example: Mapping[str, object] | None = None,
    description: str = "",
) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if example is not None:
        schema["example"] = example
    if description:
        schema["description"] = description
    return schema


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _parameters(**known: str | Schema) -> Schema:
    """Any parameters, of which mlapi knows these: a text by its description, others by a schema."""
    properties = {
        name: {**TEXT, "description": known[name]} if isinstance(known[name], str) else known[name]
        for name in known
    }
    return {**PARAMETERS, "properties": properties}


_DATA: Schema = {
    "type": "array",
    "items": {},
    "description": "In row-major order, flat or nested to the shape.",
}
_TENSOR = _object(
    {
        "name": TEXT,
        "shape": {**SHAPE, "description": "The first dimension is the rows."},
        "datatype": DATATYPE,
        "parameters": PARAMETERS,
        "data": _DATA,
    },
    required=["name", "shape", "datatype"],
)
_METADATA_TENSOR = _object(
    {"name": TEXT, "datatype": DATATYPE, "shape": SHAPE}, required=["name", "datatype", "shape"]
)
_TIMEOUT = {
    "type": "integer",
    "minimum": 0,
    "description": "Microseconds within which to answer, if that is less than the version's limit.",
}
_REQUEST_PARAMETERS = _parameters(
    timeout=_TIMEOUT,
    idempotency_key="Like the header Idempotency-Key.",
    subject="Who or what the prediction is about. A canary serves each subject by one version.",
    reference="Your own ID for the prediction of a single row, with which you report its outcome.",
    references="A JSON list with one reference or null for each row, in the order of the rows.",
    metadata="A JSON object that is stored with each prediction.",
)

SERVER = _object(
    {"name": TEXT, "version": TEXT, "extensions": _array(TEXT)},
    required=["name", "version", "extensions"],
    example={"name": "mlapi", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
)
LIVE = _object({"live": {"type": "boolean"}}, required=["live"], example={"live": True})
READY = _object({"ready": {"type": "boolean"}}, required=["ready"], example={"ready": True})
MODEL_READY = _object(
    {"name": TEXT, "ready": {"type": "boolean"}},
    required=["name", "ready"],
    example={"name": "iris", "ready": True},
)
MODEL = _object(
    {
        "name": TEXT,
        "versions": _array(TEXT),
        "platform": TEXT,
        "inputs": _array(_METADATA_TENSOR),
        "outputs": _array(_METADATA_TENSOR),
    },
    required=["name", "platform", "inputs", "outputs"],
    example={
        "name": "iris",
        "versions": ["2", "1"],
        "platform": "sklearn_skops",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]},
        ],
    },
)
INFER_REQUEST = _object(
    {
        "id": {**TEXT, "description": "The response repeats it."},
        "parameters": _REQUEST_PARAMETERS,
        "inputs": {**_array(_TENSOR), "minItems": 1},
        "outputs": _array(_object({"name": TEXT, "parameters": PARAMETERS}, required=["name"])),
    },
    required=["inputs"],
    description="One tensor with all columns, or one tensor for each column.",
    example={
        "id": "42",
        "parameters": {"subject": "customer-7"},
        "inputs": [
            {
                "name": "features",
                "shape": [2, 4],
                "datatype": "FP64",
                "data": [[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5]],
            }
        ],
        "outputs": [{"name": "label"}],
    },
)
INFER_RESPONSE = _object(
    {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "parameters": _parameters(
            prediction_ids="A JSON list of the IDs of the predictions, in the order of the rows."
        ),
        "outputs": _array(_TENSOR),
    },
    required=["model_name", "outputs"],
    example={
        "model_name": "iris",
        "model_version": "1",
        "id": "42",
        "parameters": {"prediction_ids": "[17,18]"},
        "outputs": [
            {
                "name": "label",
                "shape": [2],
                "datatype": "BYTES",
                "data": ["setosa", "versicolor"],
            }
        ],
    },
)
INDEX_REQUEST = _object({"ready": {"type": "boolean", "default": False}}, example={"ready": True})
INDEX = _array(
    _object(
        {
            "name": TEXT,
            "version": TEXT,
            "state": {"type": "string", "enum": ["READY", "UNAVAILABLE"]},
            "reason": TEXT,
        },
        required=["name", "version", "state", "reason"],
        example={"name": "iris", "version": "1", "state": "READY", "reason": ""},
    )
)
_DURATION = _object(
    {"count": {"type": "integer"}, "ns": {"type": "integer"}}, required=["count", "ns"]
)
_DURATIONS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)
STATISTICS = _object(
    {
        "model_stats": _array(
            _object(
                {
                    "name": TEXT,
                    "version": TEXT,
                    "last_inference": {
                        "type": "integer",
                        "description": "In milliseconds since 1970.",
                    },
                    "inference_count": {"type": "integer"},
                    "execution_count": {"type": "integer"},
                    "inference_stats": _object(dict.fromkeys(_DURATIONS, _DURATION)),
                    "batch_stats": _array({"type": "object"}),
                },
                required=["name", "version"],
            )
        )
    },
    required=["model_stats"],
    example={
        "model_stats": [
            {
                "name": "iris",
                "version": "1",
                "last_inference": 1767225600000,
                "inference_count": 2,
                "execution_count": 2,
                "inference_stats": {"success": {"count": 2, "ns": 610000}},
                "batch_stats": [],
            }
        ]
    },
)
