"""Every small model that the onnx package ships, through registration and /v2: answered as
onnxruntime itself answers, or refused with a reason. None is accepted and answered wrongly.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from predictions.open_inference.tests.onnx_package import Case, ProvingProcess, cases
from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.models import ModelVersion
from registry.services import Upload, register_model

# With onnx 1.23 and onnxruntime 1.32 there are 2,050 models, of which 1,517 are answered.
MIN_MODELS = 2000
MIN_RIGHT = 1500

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


@pytest.fixture
def proving_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    process = ProvingProcess()
    monkeypatch.setattr(sandbox, "run", process.run)
    yield
    process.stop()


def verdict(client: APIClient, case: Case) -> str:
    """What becomes of a model: right, WRONG or refused, with the reason."""
    try:
        version = register_model(name="m", upload=Upload([case.content]))
    except ArtifactRejected as error:
        return f"refused: {error}" if str(error) else "WRONG: refused without a reason"
    tensors = case.tensors()
    if tensors is None:
        return "refused: no request can hold its inputs"
    response = infer(client, version, tensors)
    if 400 <= response.status_code < 500:
        return f"refused: {response.json()['error']}"
    if response.status_code != 200:
        return f"WRONG: {response.status_code}"
    return difference(case.own_answer(), response.json()["outputs"])


def infer(client: APIClient, version: ModelVersion, tensors: list[dict[str, object]]) -> Any:
    url = f"/v2/models/m/versions/{version.version}/infer"
    body = json.dumps({"inputs": tensors})
    return client.post(url, body, content_type="application/json")


def difference(own: dict[str, np.ndarray] | None, outputs: list[dict[str, Any]]) -> str:
    if own is None:
        return "WRONG: onnxruntime itself gives no answer"
    if [output["name"] for output in outputs] != list(own):
        return f"WRONG: the outputs are {[output['name'] for output in outputs]}"
    for output in outputs:
        array = own[output["name"]]
        if output["shape"] != (list(array.shape) or [1]):
            return f"WRONG: {output['name']} has the shape {output['shape']}, not {array.shape}"
        if not is_equal(output["data"], array.reshape(-1)):
            return f"WRONG: {output['name']} is {output['data'][:5]}, not {array.reshape(-1)[:5]}"
    return "right"


def is_equal(data: list[Any], array: np.ndarray) -> bool:
    if array.dtype.kind == "f":
        actual = np.array(data, array.dtype)
        return bool(np.allclose(actual, array, rtol=1e-5, atol=1e-6))
    expected: list[Any] = array.tolist()
    return data == expected


def test_every_model_is_answered_as_onnxruntime_answers_or_refused(
    client: APIClient, model_path: object, proving_process: None
) -> None:
    found: dict[str, list[str]] = defaultdict(list)

    for case in cases():
        text = verdict(client, case)
        found[text.partition(":")[0]].append(f"{case.name} {text}")

    assert found["WRONG"] == []
    assert len(found["right"]) >= MIN_RIGHT
    assert sum(map(len, found.values())) >= MIN_MODELS
