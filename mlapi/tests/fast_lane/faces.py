"""Every face on which predictions can be requested, and both ways of answering it."""

import json

import pytest

from mlapi import wsgi
from mlapi.tests.fast_lane.comparison import Application, django_alone
from mlapi.tests.fast_lane.requests import FEATURES, ROW, ClientRequest

PREDICTIONS = "/api/v1/predictions/"
TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": FEATURES}
NARROW_TENSOR = {"name": "features", "shape": [1, 3], "datatype": "FP64", "data": FEATURES[:3]}
# Every face, by name: its path, a body that is answered, and one that does not fit the model.
FACES: dict[str, tuple[str, bytes, bytes, dict[str, str]]] = {
    "id": (
        PREDICTIONS,
        b'{"model_id": %(iris)d, "input_data": {"features": [5.1, 3.5, 1.4, 0.2]}}',
        b'{"model_id": %(iris)d, "input_data": {"sepal": 1}}',
        {},
    ),
    "alias": (
        PREDICTIONS,
        json.dumps({"model": "iris", "input_data": ROW}).encode(),
        b'{"model": "iris", "input_data": {"sepal": 1}}',
        {},
    ),
    "version": (
        PREDICTIONS,
        json.dumps({"model": "iris:1", "input_data": ROW}).encode(),
        b'{"model": "iris:1", "input_data": {"sepal": 1}}',
        {},
    ),
    "once": (
        PREDICTIONS,
        json.dumps({"model": "iris@champion", "input_data": ROW}).encode(),
        b'{"model": "iris@champion", "input_data": {"sepal": 1}}',
        {"Idempotency-Key": "7"},
    ),
    "batch": (
        f"{PREDICTIONS}batch/",
        json.dumps({"model": "iris", "inputs": [ROW, ROW]}).encode(),
        b'{"model": "iris", "inputs": [{"sepal": 1}]}',
        {},
    ),
    "ndjson": (
        f"{PREDICTIONS}batch/?model=iris",
        json.dumps(ROW).encode() + b"\n",
        b'{"sepal": 1}\n',
        {},
    ),
    "invocations": (
        "/api/v1/models/%(iris)d/invocations",
        json.dumps({"instances": [FEATURES]}).encode(),
        b'{"instances": [[1]]}',
        {},
    ),
    "v1": (
        "/v1/models/iris:predict",
        json.dumps({"instances": [FEATURES]}).encode(),
        b'{"instances": [[1]]}',
        {},
    ),
    "v2": (
        "/v2/models/iris/infer",
        json.dumps({"inputs": [TENSOR]}).encode(),
        json.dumps({"inputs": [NARROW_TENSOR]}).encode(),
        {},
    ),
    "v2 version": (
        "/v2/models/iris/versions/1/infer",
        json.dumps({"inputs": [TENSOR]}).encode(),
        json.dumps({"inputs": [NARROW_TENSOR]}).encode(),
        {},
    ),
}
BOTH_WAYS = pytest.mark.parametrize(
    "application", [wsgi.application, django_alone], ids=["fast", "django"]
)
EVERY_FACE = pytest.mark.parametrize("face", FACES)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def ask(
    application: Application,
    models: dict[str, int],
    face: str,
    authorization: dict[str, str],
    *,
    fits: bool = True,
    name: str = "iris",
) -> tuple[int, bytes]:
    path, good, bad, headers = FACES[face]
    body = good if fits else bad
    if b"%(iris)d" in body:
        body = body.replace(b"%(iris)d", str(models["iris"]).encode())
    request = ClientRequest(
        body.replace(b"iris", name.encode()),
        (path % models).replace("iris", name),
        {**authorization, **headers},
        content_type="application/x-ndjson" if face == "ndjson" else "application/json",
    )
    statuses: list[str] = []
    chunks = application(request.environ(), lambda status, headers: statuses.append(status))
    return int(statuses[0][:3]), b"".join(chunks)
