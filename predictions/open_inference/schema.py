"""The OpenAPI document's part of /v2, with examples."""

from typing import Any

from registry.signatures.signature import DTYPES

TEXT: dict[str, Any] = {"type": "string"}
SHAPE: dict[str, Any] = {"type": "array", "items": {"type": "integer"}}
DATATYPE: dict[str, Any] = {"type": "string", "enum": list(DTYPES)}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"oneOf": [TEXT, {"type": "number"}, {"type": "boolean"}]},
}


def _object(
    properties: dict[str, Any], *required: str, example: Any = None, description: str = ""
) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        told["required"] = list(required)
    if example is not None:
        told["example"] = example
    if description:
        told["description"] = description
    return told


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _parameters(**known: str) -> dict[str, Any]:
    properties = {name: {**TEXT, "description": about} for name, about in known.items()}
    return {**PARAMETERS, "properties": properties}


_DATA = {"type": "array", "items": {}, "description": "Row-major, flat or nested as the shape."}
_TENSOR = _object(
    {
        "name": TEXT,
        "shape": {**SHAPE, "description": "The first dimension is the rows."},
        "datatype": DATATYPE,
        "parameters": PARAMETERS,
        "data": _DATA,
    },
    *("name", "shape", "datatype"),
)
_METADATA_TENSOR = _object(
    {"name": TEXT, "datatype": DATATYPE, "shape": SHAPE}, "name", "datatype", "shape"
)
_REQUEST_PARAMETERS = _parameters(
    idempotency_key="As the header Idempotency-Key.",
    subject="Whom it is about: a canary gives one subject one version.",
    reference="Your own name of the one row, for outcomes.",
    references="JSON: one a row, or null, in their order.",
    metadata="JSON: an object that is kept with each row.",
)

SERVER = _object(
    {"name": TEXT, "version": TEXT, "extensions": _list(TEXT)},
    *("name", "version", "extensions"),
    example={"name": "mlapi", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
)
LIVE = _object({"live": {"type": "boolean"}}, "live", example={"live": True})
READY = _object({"ready": {"type": "boolean"}}, "ready", example={"ready": True})
MODEL_READY = _object(
    {"name": TEXT, "ready": {"type": "boolean"}},
    *("name", "ready"),
    example={"name": "iris", "ready": True},
)
MODEL = _object(
    {
        "name": TEXT,
        "versions": _list(TEXT),
        "platform": TEXT,
        "inputs": _list(_METADATA_TENSOR),
        "outputs": _list(_METADATA_TENSOR),
    },
    *("name", "platform", "inputs", "outputs"),
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
        "id": {**TEXT, "description": "Comes back in the answer."},
        "parameters": _REQUEST_PARAMETERS,
        "inputs": {**_list(_TENSOR), "minItems": 1},
        "outputs": _list(_object({"name": TEXT, "parameters": PARAMETERS}, "name")),
    },
    "inputs",
    description="One table of rows, or one tensor for each column.",
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
        "parameters": _parameters(prediction_ids="JSON: the ids of the recorded predictions."),
        "outputs": _list(_TENSOR),
    },
    *("model_name", "outputs"),
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
INDEX = _list(
    _object(
        {
            "name": TEXT,
            "version": TEXT,
            "state": {"type": "string", "enum": ["READY", "UNAVAILABLE"]},
            "reason": TEXT,
        },
        *("name", "version", "state", "reason"),
        example={"name": "iris", "version": "1", "state": "READY", "reason": ""},
    )
)
_DURATION = _object({"count": {"type": "integer"}, "ns": {"type": "integer"}}, "count", "ns")
_DURATIONS = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)
STATISTICS = _object(
    {
        "model_stats": _list(
            _object(
                {
                    "name": TEXT,
                    "version": TEXT,
                    "last_inference": {"type": "integer", "description": "In ms since 1970."},
                    "inference_count": {"type": "integer"},
                    "execution_count": {"type": "integer"},
                    "inference_stats": _object(dict.fromkeys(_DURATIONS, _DURATION)),
                    "batch_stats": _list({"type": "object"}),
                },
                *("name", "version"),
            )
        )
    },
    "model_stats",
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
