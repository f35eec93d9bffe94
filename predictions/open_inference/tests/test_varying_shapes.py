"""Outputs whose size depends on a row's values."""

from pathlib import Path

import pytest
from rest_framework.test import APIClient

from predictions.open_inference.tests.calls import infer, tensor
from registry.services import Upload, register_model
from registry.testing import onnx_graphs

URL = "/v2/models/padded/infer"

pytestmark = pytest.mark.usefixtures("in_process_sandbox", "padded")


@pytest.fixture
def padded(db: None, model_path: Path, tmp_path: Path) -> None:
    path = onnx_graphs.padded_graph(tmp_path / "m.onnx")
    register_model(name="padded", upload=Upload([path.read_bytes()]))


def test_rows_of_equal_size_are_one_tensor(client: APIClient) -> None:
    rows = tensor("x", "FP32", [2, 2], [1002, 0, 1002.5, 0])

    (output,) = infer(client, rows, path=URL).json()["outputs"]

    assert (output["shape"], output["data"]) == ([2, 2], [1002, 1002, 1002.5, 1002.5])


def test_rows_of_different_sizes_do_not_fit_one_tensor(client: APIClient) -> None:
    response = infer(client, tensor("x", "FP32", [2, 2], [1001, 0, 1003, 0]), path=URL)

    assert response.status_code == 400
    assert "send one row a request" in response.json()["error"]


def test_each_row_of_a_batch_gets_its_own_size(client: APIClient) -> None:
    inputs = [{"features": [1001, 0]}, {"features": [1003, 0]}]

    response = client.post("/api/v1/predictions/batch/", {"model": "padded", "inputs": inputs})

    assert [row["output"]["y"] for row in response.json()] == [[1001], [1003, 1003, 1003]]
