"""Prediction requests: valid ones, and invalid ones of every kind that the API distinguishes."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

PREDICT = "/api/v1/predictions/"
INFER = "/v2/models/iris/infer"
JSON = "application/json"
FEATURES = [5.1, 3.5, 1.4, 0.2]
ROW = {"features": FEATURES}


@dataclass(frozen=True)
class ClientRequest:
    """A request as a client sends it."""

    body: bytes
    path: str = PREDICT
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = JSON
    method: str = "POST"

    def environ(self) -> dict[str, object]:
        path, _, query = self.path.partition("?")
        environ: dict[str, object] = {
            "REQUEST_METHOD": self.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
            "HTTP_HOST": "localhost",
            "HTTP_X_REQUEST_ID": "fixed",
        }
        if self.content_type is not None:
            environ["CONTENT_TYPE"] = self.content_type
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_LENGTH" else f"HTTP_{key}"] = value
        return environ


def as_json(*documents: object) -> list[bytes]:
    return [json.dumps(document).encode() for document in documents]


# -- POST /predictions/

# Invalid values of `input_data`.
INPUTS: list[object] = [
    {"features": FEATURES[:3]},
    {"features": [*FEATURES, 1.0]},
    {"features": ["a", None, True, 1e400]},
    {"features": [2**70, 0, 0, 0]},
    {"features": "abc"},
    {"features": []},
    {},
    {"sepal": 1.0},
    [1, 2],
    "text",
    None,
    7,
]
# Valid and invalid fields to add to a valid body.
EXTRAS: list[dict[str, object]] = [
    {"subject": "ada"},
    {"subject": " ada "},
    {"subject": ""},
    {"subject": None},
    {"subject": 7},
    {"subject": "x" * 201},
    {"subject": "näme with spaces"},
    {"reference": "order-17"},
    {"reference": "r" * 200},
    {"reference": "r" * 201},
    {"reference": ["r"]},
    {"metadata": {"ticket": 17}},
    {"metadata": None},
    {"metadata": []},
    {"metadata": {"long": "x" * 70_000}},
    {"unknown": 1},
    {"subject": "ada", "reference": "order-18", "metadata": {}},
]
RAW_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"7",
    b"{}",
    b'{"model_id": 1}',
    b'{"input_data": {}}',
    b"\xff\xfe",
    b'{"model": "iris", "input_data": {"features": [NaN, 1, 1, 1]}}',
    b'{"model": "iris", "input_data": {"features": [1, 1, 1, 1]}, "subject": "\\u0000"}',
    b'{"model": "iris", "input_data": {"features": ' + b"[" * 150 + b"]" * 150 + b"}}",
    b'{"model": "iris", "model": "none", "input_data": {"features": [1, 1, 1, 1]}}',
]


def prediction_bodies(models: Mapping[str, int]) -> list[bytes]:
    """Bodies of POST /predictions/: valid ones, and invalid ones of every kind."""
    iris = models["iris"]
    by_name: dict[str, object] = {"model": "iris", "input_data": ROW}
    targets: list[dict[str, object]] = [
        {"model_id": pk, "input_data": ROW} for pk in models.values()
    ]
    targets += [
        {"model": name, "input_data": ROW}
        for name in ("iris", "iris:1", "iris@champion", "iris@none", "iris:9", "none", "a@b:c")
    ]
    extras: list[dict[str, object]] = [*EXTRAS, {"model_id": iris}]
    identifiers: list[object] = [0, -1, 1.0, "1", True, None, 2**63, 2**64, [iris], "", " iris "]
    return [
        *as_json(*targets),
        *as_json(*({**by_name, "input_data": value} for value in INPUTS)),
        *as_json(*({**by_name, **extra} for extra in extras)),
        *as_json(*({"model_id": value, "input_data": ROW} for value in identifiers)),
        *as_json(*({"model": value, "input_data": ROW} for value in identifiers)),
        *RAW_BODIES,
    ]


# -- POST /v2/.../infer

TENSOR: dict[str, object] = {
    "name": "features",
    "shape": [1, 4],
    "datatype": "FP64",
    "data": FEATURES,
}
TENSOR_CHANGES: list[dict[str, object]] = [
    {"data": FEATURES[:3]},
    {"data": [FEATURES]},
    {"data": [None, 1, 1, 1]},
    {"data": ["a", 1, 1, 1]},
    {"data": None},
    {"shape": [4]},
    {"shape": [0, 4]},
    {"shape": "x"},
    {"datatype": "FP99"},
    {"datatype": "INT64", "data": [1, 2, 3, 4]},
    {"datatype": "BOOL", "data": [True, True, False, False]},
    {"name": ""},
    {"name": "other"},
    {"parameters": {"binary_data_size": 32}},
    {"parameters": {"content_type": "np"}},
    {"parameters": {"content_type": "base64"}},
    {"parameters": []},
]
REQUEST_CHANGES: list[dict[str, object]] = [
    {"id": "mine"},
    {"id": 7},
    {"id": "x" * 1001},
    {"outputs": [{"name": "label"}]},
    {"outputs": [{"name": "none"}]},
    {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]},
    {"outputs": {}},
    {"parameters": {"subject": "ada", "reference": "order-1"}},
    {"parameters": {"metadata": '{"batch": 7}'}},
    {"parameters": {"metadata": "{"}},
    {"parameters": {"references": '["a"]'}},
    {"parameters": {"references": '["a", "b"]'}},
    {"parameters": {"subject": ""}},
    {"parameters": {"binary_data_output": True}},
    {"parameters": {"binary_data_output": 1}},
    {"parameters": {"content_type": "np"}},
    {"parameters": {"content_type": "pd"}},
    {"parameters": {"sequence_id": 1}},
    {"outputs": [{"name": "predict"}, {"name": "predict_proba"}]},
    {"outputs": [{"name": "predict", "parameters": {"content_type": "base64"}}]},
    {"outputs": [{"name": "transform"}]},
    {"parameters": {"idempotency_key": 7}},
    {"parameters": []},
    {"unknown": 1},
]


def infer_bodies() -> list[bytes]:
    """Bodies of POST /v2/.../infer: valid ones, and invalid ones of every kind."""
    two_rows = {**TENSOR, "shape": [2, 4], "data": FEATURES * 2}
    requests: list[object] = [{"inputs": [TENSOR]}, {"inputs": [two_rows]}]
    requests += [{"inputs": [{**TENSOR, **change}]} for change in TENSOR_CHANGES]
    requests += [{"inputs": [TENSOR], **change} for change in REQUEST_CHANGES]
    requests += [{"inputs": []}, {"inputs": [TENSOR, TENSOR]}, {}, [], 7, None]
    return [*as_json(*requests), b"", b"{", b"\xff"]
