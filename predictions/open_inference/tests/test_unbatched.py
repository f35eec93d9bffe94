"""A model without a dimension for rows, on every path: a row is one complete set of tensors. And a
model whose outputs have another size for another row.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from predictions.open_inference.tests.calls import infer, tensor
from registry.models import ModelVersion
from registry.services import Upload, register_model
from registry.testing import onnx_graphs

IMAGES = np.random.default_rng(0).normal(size=(3, 1, 3, 4)).astype(np.float32)
URL = "/v2/models/detector/infer"
PADDED_URL = "/v2/models/padded/infer"

pytestmark = pytest.mark.usefixtures("in_process_sandbox", "model_path")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return onnx_graphs.detector_graph(tmp_path / "detector.onnx")


@pytest.fixture
def detector(db: None, path: Path) -> ModelVersion:
    return register_model(name="detector", upload=Upload([path.read_bytes()]))


def own(path: Path, image: np.ndarray) -> dict[str, Any]:
    """onnxruntime's own answer, as lists."""
    answer = onnx_graphs.own_answer(path, image=image)
    return {name: values.tolist() for name, values in answer.items()}


def as_tensor(image: np.ndarray) -> dict[str, object]:
    return tensor("image", "FP32", image.shape, image.reshape(-1).tolist())


def test_metadata_has_the_shapes_of_the_graph(client: APIClient, detector: ModelVersion) -> None:
    body = client.get("/v2/models/detector").json()

    assert [item["shape"] for item in body["inputs"]] == [[1, 3, 4]]
    assert [item["shape"] for item in body["outputs"]] == [[-1, 2], [-1]]


def test_v2_takes_and_returns_the_tensors_of_the_graph(
    client: APIClient, detector: ModelVersion, path: Path
) -> None:
    for image in IMAGES:
        outputs = infer(client, as_tensor(image), path=URL).json()["outputs"]

        expected = onnx_graphs.own_answer(path, image=image)
        for output in outputs:
            assert output["shape"] == list(expected[output["name"]].shape)
            assert output["data"] == expected[output["name"]].reshape(-1).tolist()


def test_no_box_at_all_is_an_answer(client: APIClient, detector: ModelVersion) -> None:
    response = infer(client, as_tensor(-np.abs(IMAGES[0])), path=URL)

    boxes, scores = response.json()["outputs"]
    assert (boxes["shape"], boxes["data"]) == ([0, 2], [])
    assert (scores["shape"], scores["data"]) == ([0], [])


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4), (1, 1, 3, 4)])
def test_tensors_of_another_shape_are_refused(
    client: APIClient, detector: ModelVersion, shape: tuple[int, ...]
) -> None:
    response = infer(client, as_tensor(np.ones(shape, np.float32)), path=URL)

    assert response.status_code == 400
    assert "not [1, 3, 4]; this model takes one row a request" in response.json()["error"]


def test_a_prediction_has_every_output_once(
    client: APIClient, detector: ModelVersion, path: Path
) -> None:
    body = {"model": "detector", "input_data": {"image": IMAGES[0].tolist()}}

    answer = client.post("/api/v1/predictions/", body).json()

    assert answer["output"] == own(path, IMAGES[0])
    assert answer["prediction"] is None


def test_a_batch_keeps_each_images_own_boxes(
    client: APIClient, detector: ModelVersion, path: Path
) -> None:
    inputs = [{"image": image.tolist()} for image in IMAGES]

    response = client.post("/api/v1/predictions/batch/", {"model": "detector", "inputs": inputs})

    answers = [row["output"] for row in response.json()]
    assert answers == [own(path, image) for image in IMAGES]


def test_ndjson_and_invocations_keep_each_images_own_boxes(
    client: APIClient, detector: ModelVersion, path: Path
) -> None:
    expected = [own(path, image) for image in IMAGES]
    lines = b"\n".join(json.dumps({"image": image.tolist()}).encode() for image in IMAGES)

    streamed: Any = client.post(
        "/api/v1/predictions/batch/?model=detector", lines, content_type="application/x-ndjson"
    )
    invoked = client.post(f"/api/v1/models/{detector.pk}/invocations/", {"inputs": IMAGES.tolist()})

    rows = [json.loads(line) for line in b"".join(streamed.streaming_content).splitlines()]
    assert [row["output"] for row in rows if "output" in row] == expected
    assert invoked.json()["predictions"] == [[row["boxes"], row["scores"]] for row in expected]


# -- outputs whose size depends on a row's values


@pytest.fixture
def padded(db: None, model_path: Path, tmp_path: Path) -> None:
    path = onnx_graphs.padded_graph(tmp_path / "m.onnx")
    register_model(name="padded", upload=Upload([path.read_bytes()]))


@pytest.mark.usefixtures("padded")
def test_rows_of_equal_size_are_one_tensor(client: APIClient) -> None:
    rows = tensor("x", "FP32", [2, 2], [1002, 0, 1002.5, 0])

    (output,) = infer(client, rows, path=PADDED_URL).json()["outputs"]

    assert (output["shape"], output["data"]) == ([2, 2], [1002, 1002, 1002.5, 1002.5])


@pytest.mark.usefixtures("padded")
def test_rows_of_different_sizes_do_not_fit_one_tensor(client: APIClient) -> None:
    response = infer(client, tensor("x", "FP32", [2, 2], [1001, 0, 1003, 0]), path=PADDED_URL)

    assert response.status_code == 400
    assert "a tensor needs rows of one shape" in response.json()["error"]


@pytest.mark.usefixtures("padded")
def test_each_row_of_a_batch_gets_its_own_size(client: APIClient) -> None:
    inputs = [{"features": [1001, 0]}, {"features": [1003, 0]}]

    response = client.post("/api/v1/predictions/batch/", {"model": "padded", "inputs": inputs})

    assert [row["output"]["y"] for row in response.json()] == [[1001], [1003, 1003, 1003]]
