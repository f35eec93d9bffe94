"""The schemas of /v1 in the OpenAPI document, with examples."""

from predictions.open_inference.schema import MODEL_READY, TEXT, Schema

_ROW: Schema = {"oneOf": [{"type": "array", "items": {}}, {"type": "object"}]}
_ROWS: Schema = {
    "type": "array",
    "items": _ROW,
    "minItems": 1,
    "description": "One list of values in the order of the signature, or one object, per row.",
}

MODELS: Schema = {
    "type": "object",
    "properties": {"models": {"type": "array", "items": TEXT}},
    "required": ["models"],
    "example": {"models": ["iris", "wine"]},
}
MODEL = MODEL_READY
REQUEST: Schema = {
    "type": "object",
    "description": "Either instances or inputs, which mean the same.",
    "properties": {"instances": _ROWS, "inputs": _ROWS, "signature_name": TEXT},
    "example": {"instances": [[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5]]},
}
RESPONSE: Schema = {
    "type": "object",
    "properties": {"predictions": {"type": "array", "items": {}}},
    "required": ["predictions"],
    "example": {"predictions": ["setosa", "versicolor"]},
}
