"""Valid requests for every route that takes a body, and how to send them changed."""

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from rest_framework.test import APIClient

from mlapi.bodies.codings import zstd
from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.clients import PASSWORD

FEATURES = [5.1, 3.5, 1.4, 0.2]
ROW = {"features": FEATURES}
TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP64"}
BINARY_HEAD = json.dumps({"inputs": [{**TENSOR, "parameters": {"binary_data_size": 32}}]}).encode()
JSON, NDJSON = "application/json", "application/x-ndjson"
CSV = b"sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n5.1,3.5,1.4,0.2"
COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}


class Call(NamedTuple):
    """A valid request with a body."""

    path: str
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}


def as_json(path: str, document: object) -> Call:
    return Call(path, JSON, json.dumps(document).encode())


TEXT_CALLS = {
    "predict": as_json("/api/v1/predictions/", {"model": "iris", "input_data": ROW}),
    "batch": as_json("/api/v1/predictions/batch/", {"model": "iris", "inputs": [ROW]}),
    "ndjson": Call("/api/v1/predictions/batch/?model=iris", NDJSON, json.dumps(ROW).encode()),
    "invocations": as_json("/api/v1/models/{pk}/invocations/", {"instances": [FEATURES]}),
    "csv": Call("/api/v1/models/{pk}/invocations/", "text/csv", CSV),
    "v1": as_json("/v1/models/iris:predict", {"instances": [FEATURES]}),
    "v2": as_json("/v2/models/iris/infer", {"inputs": [{**TENSOR, "data": FEATURES}]}),
    "index": as_json("/v2/repository/index", {"ready": True}),
    "token": as_json("/api/v1/auth/token/", {"username": "ada", "password": PASSWORD}),
}
CALLS = {
    **TEXT_CALLS,
    "binary": Call(
        "/v2/models/iris/infer",
        "application/octet-stream",
        BINARY_HEAD + struct.pack("<4d", *FEATURES),
        {"Inference-Header-Content-Length": str(len(BINARY_HEAD))},
    ),
}


def send(client: APIClient, call: Call, model: ModelVersion, **environ: Any) -> Any:
    """The response to a call, with its lines as content if it is a stream."""
    response: Any = client.generic(
        "POST",
        call.path.format(pk=model.pk),
        cast(Any, call.body),
        content_type=call.content_type,
        headers=call.headers,
        **{"wsgi.input": io.BytesIO(call.body), **environ},
    )
    return response


def encoded(call: Call, coding: str, body: bytes | None = None) -> Call:
    body = COMPRESS[coding](call.body) if body is None else body
    headers = {**call.headers, "Content-Encoding": coding}
    return call._replace(body=body, headers=headers)


def results_of(response: Any) -> Any:
    """The parsed lines of an NDJSON response."""
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def assert_answered(name: str, response: Any) -> None:
    assert response.status_code in (200, 201), response.content
    if response.streaming:
        assert [line["summary"] for line in results_of(response)[-1:]] == [
            {"lines": 1, "succeeded": 1, "failed": 0, "rejected": 0, "complete": True}
        ]
    is_recorded = name not in ("index", "token")
    assert Prediction.objects.count() == is_recorded
    if is_recorded:
        [row] = Prediction.objects.all()
        assert list(row.input_data.values()) in (FEATURES, [FEATURES])


def error_of(response: Any) -> str:
    body = response.json()
    return str(body.get("error") or body["detail"])
