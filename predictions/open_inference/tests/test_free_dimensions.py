"""Graphs whose outputs have dimensions of any size, and several outputs per row."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference.tests.calls import tensor
from registry.models import ModelVersion
from registry.services import Upload, register_model

URL = "/v2/models/pair:1"
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.fixture
def pair(model_path: Path, cached_proofs: None, db: None) -> ModelVersion:
    """Gives back the n numbers of a row, twice as much of each, and their sum."""
    free = ["batch", "n"]
    x, same, double = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, free)
        for name in ("x", "same", "double")
    )
    total = helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["x"], ["same"]),
            helper.make_node("Add", ["x", "x"], ["double"]),
            helper.make_node("ReduceSum", ["x", "axes"], ["total"], keepdims=0),
        ],
        "pair",
        [x],
        [same, double, total],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    upload = Upload([model.SerializeToString()])
    return register_model(name="pair", version="1", upload=upload)


def test_metadata_leaves_free_dimensions_open(client: APIClient, pair: ModelVersion) -> None:
    document = client.get(URL).json()

    shapes = {item["name"]: item["shape"] for item in [*document["inputs"], *document["outputs"]]}
    assert shapes == {"x": [-1, -1], "same": [-1, -1], "double": [-1, -1], "total": [-1]}


@pytest.mark.parametrize("n_columns", [1, 2, 3])
def test_rows_of_any_width_are_answered_whole(
    client: APIClient, pair: ModelVersion, n_columns: int
) -> None:
    rows = [row[:n_columns] for row in ROWS]
    flat = [value for row in rows for value in row]

    response = client.post(f"{URL}/infer", {"inputs": [tensor("x", "FP32", [2, n_columns], flat)]})

    assert response.status_code == 200, response.content
    outputs = {item["name"]: item for item in response.json()["outputs"]}
    assert outputs["same"]["shape"] == outputs["double"]["shape"] == [2, n_columns]
    assert outputs["same"]["data"] == flat
    assert outputs["double"]["data"] == [2 * value for value in flat]
    assert outputs["total"]["data"] == [sum(row) for row in rows]


def test_several_outputs_are_recorded_and_answered_by_name(
    client: APIClient, pair: ModelVersion
) -> None:
    expected = [
        {"same": row, "double": [2 * value for value in row], "total": sum(row)} for row in ROWS
    ]

    response = client.post("/v1/models/pair:1:predict", {"instances": [{"x": row} for row in ROWS]})
    inputs = [{"x": row} for row in ROWS]
    batch: Any = client.post("/api/v1/predictions/batch/", {"model_id": pair.pk, "inputs": inputs})
    invoked = client.post(f"/api/v1/models/{pair.pk}/invocations/", {"inputs": {"x": ROWS}})

    assert response.json() == {"predictions": expected}
    assert [row["output"] for row in batch.json()] == expected
    assert invoked.json() == {"predictions": [list(row.values()) for row in expected]}
    assert [row.output for row in Prediction.objects.all()] == expected * 3
