"""Infer calls of /v2: what is scored, recorded and sent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference.tests.calls import (
    INFER,
    ROW,
    TENSOR,
    infer,
    prediction_ids,
    tensor,
)
from registry.models import Alias, ModelVersion
from registry.services import Upload, register_model
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion


def test_an_infer_call_is_scored_and_recorded(
    client: APIClient, champion: Alias, iris_artifact: Artifact
) -> None:
    response = infer(client, id="42")

    [expected] = iris_artifact.model.predict_proba([ROW])
    row = Prediction.objects.get()
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    probabilities = response.json()["outputs"][1].pop("data")
    assert probabilities == pytest.approx(expected, abs=1e-9)
    assert response.json() == {
        "model_name": "iris",
        "model_version": "1",
        "id": "42",
        "parameters": {"prediction_ids": f"[{row.pk}]"},
        "outputs": [
            {"name": "label", "shape": [1], "datatype": "BYTES", "data": ["setosa"]},
            {"name": "probabilities", "shape": [1, 3], "datatype": "FP64"},
        ],
    }
    assert (row.input_data, row.alias, row.arm) == ({"features": ROW}, "champion", "primary")


def test_each_row_is_a_prediction(client: APIClient, champion: Alias) -> None:
    rows = [ROW, [6.0, 2.9, 4.5, 1.5], [6.3, 3.3, 6.0, 2.5]]

    response = infer(client, tensor("features", "FP64", [3, 4], rows))

    assert response.json()["outputs"][0]["data"] == ["setosa", "versicolor", "virginica"]
    recorded = [Prediction.objects.get(pk=pk) for pk in prediction_ids(response)]
    assert [row.input_data["features"] for row in recorded] == rows


def test_a_recorded_row_gets_the_same_answer_again(client: APIClient, champion: Alias) -> None:
    infer(client, tensor("features", "FP32", [1, 4], [0.1, 0.2, 0.3, 0.4]))
    row = Prediction.objects.get()

    body = {"model_id": row.model_id, "input_data": row.input_data}
    again = client.post("/api/v1/predictions/", body).json()

    assert again["output"] == row.output


def test_a_table_may_have_any_name(client: APIClient, champion: Alias) -> None:
    assert infer(client, {**TENSOR, "name": "input-0"}).status_code == 200
    assert Prediction.objects.get().input_data == {"features": ROW}


def test_each_column_can_be_a_tensor(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Artifact
) -> None:
    response = infer(
        client,
        tensor("age", "FP64", [2, 1], [20.5, None]),
        tensor("city", "BYTES", [2], ["Oslo", "Rome"]),
        tensor("income", "INT64", [2, 1], [[1], [2]]),
        path="/v2/models/mixed/versions/1/infer",
    )

    assert response.status_code == 200, response.content
    assert [row.input_data for row in Prediction.objects.order_by("pk")] == [
        {"city": "Oslo", "age": 20.5, "income": 1},
        {"city": "Rome", "age": None, "income": 2},
    ]


def test_a_table_with_column_names_can_be_sent_whole_or_by_column(
    client: APIClient, diabetes: ModelVersion, diabetes_artifact: Artifact
) -> None:
    row = diabetes_artifact.row["features"]
    names = diabetes_artifact.proof.signature["inputs"][0]["features"]
    path = "/v2/models/diabetes/versions/1/infer"
    columns = [tensor(n, "FP64", [1], [v]) for n, v in zip(names, row, strict=True)]

    whole = infer(client, tensor("features", "FP64", [1, 10], row), path=path)
    single = infer(client, *reversed(columns), path=path)

    [expected] = diabetes_artifact.model.predict([row])
    assert whole.json()["outputs"] == single.json()["outputs"]
    assert whole.json()["outputs"] == [
        {"name": "value", "shape": [1], "datatype": "FP64", "data": [pytest.approx(expected)]}
    ]


def test_requested_outputs_are_sent_in_their_order(client: APIClient, champion: Alias) -> None:
    response = infer(client, outputs=[{"name": "probabilities"}, {"name": "label"}])

    assert [output["name"] for output in response.json()["outputs"]] == ["probabilities", "label"]


def test_each_output_is_a_tensor(
    client: APIClient, make_version: MakeVersion, pair_artifact: Artifact
) -> None:
    make_version("pair", pair_artifact)
    rows = [[1.5, 2.0], [0.0, 1.0]]

    response = infer(
        client, tensor("x", "FP64", [2, 2], rows), path="/v2/models/pair/versions/1/infer"
    )

    data = {output["name"]: output["data"] for output in response.json()["outputs"]}
    expected = pair_artifact.model.predict(rows)
    assert np.allclose([data["y0"], data["y1"]], expected.T)


def test_the_default_id_is_the_request_id(client: APIClient, champion: Alias) -> None:
    response = client.post(INFER, {"inputs": [TENSOR]}, headers={"X-Request-ID": "order-17"})

    assert response.json()["id"] == "order-17"
    assert Prediction.objects.get().request_id == "order-17"


# -- versions and aliases


def test_a_version_is_called_by_its_number(
    client: APIClient, champion: Alias, second_version: ModelVersion
) -> None:
    response = infer(client, path="/v2/models/iris/versions/2/infer")

    row = Prediction.objects.get()
    assert response.json()["model_version"] == "2"
    assert (row.model_id, row.alias, row.arm) == (second_version.pk, None, None)


@pytest.mark.parametrize("name", ["iris@staging", "iris%40staging"])
def test_an_alias_is_called_by_its_name(
    client: APIClient, champion: Alias, second_version: ModelVersion, name: str
) -> None:
    Alias.objects.create(name="iris", alias="staging", version=second_version)

    assert infer(client, path=f"/v2/models/{name}/infer").json()["model_version"] == "2"
    assert Prediction.objects.get().alias == "staging"


def test_a_subject_stays_on_its_arm_of_a_canary(
    client: APIClient, champion: Alias, second_version: ModelVersion
) -> None:
    Alias.objects.update(canary=second_version, canary_percent=50)

    def arm_of(subject: str) -> str:
        response = infer(client, parameters={"subject": subject})
        return str(response.json()["model_version"])

    arms = {subject: arm_of(subject) for subject in map(str, range(12))}

    assert set(arms.values()) == {"1", "2"}
    assert {subject: arm_of(subject) for subject in arms} == arms
    recorded_arms = dict(Prediction.objects.values_list("model__version", "arm"))
    assert recorded_arms == {"1": "primary", "2": "canary"}


def test_an_infer_call_of_a_loaded_model_costs_two_statements(
    client: APIClient, champion: Alias, django_assert_max_num_queries: Any
) -> None:
    infer(client)

    # As for a prediction by name: the model specifier, and on SQLite the INSERT and its savepoint.
    with django_assert_max_num_queries(4):
        infer(client)


# -- outputs of any width, and several of them


PAIR = "/v2/models/pair:1"
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
    document = client.get(PAIR).json()

    shapes = {item["name"]: item["shape"] for item in [*document["inputs"], *document["outputs"]]}
    assert shapes == {"x": [-1, -1], "same": [-1, -1], "double": [-1, -1], "total": [-1]}


@pytest.mark.parametrize("n_columns", [1, 2, 3])
def test_rows_of_any_width_are_answered_whole(
    client: APIClient, pair: ModelVersion, n_columns: int
) -> None:
    rows = [row[:n_columns] for row in ROWS]
    flat = [value for row in rows for value in row]

    response = client.post(f"{PAIR}/infer", {"inputs": [tensor("x", "FP32", [2, n_columns], flat)]})

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
    assert [row.output for row in Prediction.objects.order_by("pk")] == expected * 3
