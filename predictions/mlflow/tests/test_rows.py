"""Rows are the ones that MLflow reads from the same body, or they are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pandas._libs.parsers import STR_NA_VALUES
from rest_framework.test import APIClient
from sklearn.linear_model import LinearRegression

from predictions.mlflow.bodies import _MISSING
from predictions.models import Prediction
from registry.models import ModelVersion
from registry.services import Upload, register_model
from registry.testing import onnx_graphs
from registry.testing.artifacts import MakeArtifact
from registry.testing.versions import MakeVersion

IRIS_ROW = [5.1, 3.5, 1.4, 0.2]
OTHER_ROW = [6.9, 3.2, 5.7, 2.3]


@pytest.fixture
def tens(make_artifact: MakeArtifact, make_version: MakeVersion) -> ModelVersion:
    """x0 + 10 x1, without column names."""
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    model = LinearRegression().fit(rows, rows @ [1.0, 10.0])
    return make_version("tens", make_artifact("tens", model, {"features": [1.0, 1.0]}))


def invoke(client: APIClient, version: ModelVersion, body: Any) -> Any:
    return client.post(f"/api/v1/models/{version.pk}/invocations/", body)


def invoke_csv(client: APIClient, version: ModelVersion, text: str) -> Any:
    body: Any = text
    return client.generic("POST", f"/api/v1/models/{version.pk}/invocations/", body, "text/csv")


# -- objects for a model without column names: the first row has the order of the columns


@pytest.mark.parametrize("key", ["dataframe_records", "instances"])
def test_objects_are_aligned_by_the_names_of_the_first(
    client: APIClient, tens: ModelVersion, key: str
) -> None:
    response = invoke(client, tens, {key: [{"a": 1, "b": 2}, {"b": 2, "a": 1}]})

    assert response.status_code == 200, response.content
    assert response.json()["predictions"] == pytest.approx([21, 21])


def test_objects_of_kserves_first_protocol_are_aligned_too(
    client: APIClient, tens: ModelVersion
) -> None:
    body = {"instances": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}

    response: Any = client.post("/v1/models/tens:1:predict", body)

    assert response.json()["predictions"] == pytest.approx([21, 21])


@pytest.mark.parametrize("row", [{"a": 1, "c": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_objects_of_other_columns_than_the_first_are_refused(
    client: APIClient, tens: ModelVersion, row: dict[str, int]
) -> None:
    response = invoke(client, tens, {"dataframe_records": [{"a": 1, "b": 2}, row]})

    assert response.status_code == 400
    assert response.json()["errors"].keys() == {"dataframe_records[1]"}
    assert "'a', 'b'" in response.json()["detail"]
    assert not Prediction.objects.exists()


@pytest.mark.usefixtures("in_process_sandbox", "model_path", "db")
def test_an_object_without_the_name_of_a_nested_input_is_refused(
    client: APIClient, tmp_path: Path
) -> None:
    content = onnx_graphs.detector_graph(tmp_path / "detector.onnx").read_bytes()
    detector = register_model(name="detector", upload=Upload([content]))
    image = np.ones((3, 4)).tolist()

    response = invoke(client, detector, {"instances": [{"picture": [image]}]})

    assert response.status_code == 400
    assert response.json()["errors"] == {
        "instances[0].image": ["Missing."],
        "instances[0].picture": ["Not a feature of this model."],
    }


# -- CSV


@pytest.mark.parametrize(
    "cell", ["1_0", "\uff11", "0x1", "1,0", "1 0", "nan ", "--1", "1e", "e1", "."]
)
def test_a_cell_that_is_no_number_to_pandas_is_refused(
    client: APIClient, iris: ModelVersion, cell: str
) -> None:
    response = invoke_csv(client, iris, f'a,b,c,d\n1,2,3,"{cell}"\n')

    assert response.status_code == 400, response.content
    assert "Must be a number, not" in response.json()["detail"]
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("cell", "number"), [("-1", -1), ("+1.", 1), (".5", 0.5), ("1E-3", 0.001), (" 2 ", 2)]
)
def test_a_number_in_csv_is_as_pandas_reads_it(
    client: APIClient, iris: ModelVersion, cell: str, number: float
) -> None:
    response = invoke_csv(client, iris, f"a,b,c,d\n1,2,3,{cell}\n")

    assert response.status_code == 200, response.content
    assert Prediction.objects.get().input_data == {"features": [1, 2, 3, number]}


def test_errors_in_csv_name_the_row_below_the_header(client: APIClient, iris: ModelVersion) -> None:
    response = invoke_csv(client, iris, "a,b,c,d\n1,2,3,4\n1,2,3,x\n")

    assert response.json()["errors"].keys() == {"rows[1][3]"}


@pytest.mark.parametrize("text", ["a,b,c,d\n", "a,a,c,d\n1,2,3,4\n"])
def test_errors_in_csv_name_no_other_format(
    client: APIClient, iris: ModelVersion, text: str
) -> None:
    response = invoke_csv(client, iris, text)

    assert response.status_code == 400
    assert response.json()["errors"].keys() == {"non_field_errors"}
    assert "non_field_errors" not in response.json()["detail"]


@pytest.mark.parametrize("cell", ["", "NA", "None", "nan", "<NA>"])
def test_a_cell_that_pandas_takes_for_missing_is_missing(
    client: APIClient, mixed: ModelVersion, cell: str
) -> None:
    """MLflow reads CSV with pandas, which does not tell texts from numbers there."""
    response = invoke_csv(client, mixed, f"city,age,income\nOslo,{cell},1\n")
    text = invoke_csv(client, mixed, f"city,age,income\n{cell},20,1\n")

    assert response.status_code == 200
    assert Prediction.objects.order_by("pk")[0].input_data["age"] is None
    # The encoder of the cities saw no missing value.
    assert text.status_code == 400
    assert text.json()["errors"].keys() == {"rows[0].city"}


def test_the_cells_for_missing_values_are_those_of_pandas() -> None:
    assert _MISSING == STR_NA_VALUES


@pytest.mark.parametrize(
    ("parameter", "message"),
    [("header=absent", "must have a header"), ("charset=latin-1", "must be in UTF-8, not latin-1")],
)
def test_a_parameter_that_changes_the_meaning_of_csv_is_refused(
    client: APIClient, iris: ModelVersion, parameter: str, message: str
) -> None:
    body: Any = "1,2,3,4\n5,6,7,8\n"

    response: Any = client.generic(
        "POST", f"/api/v1/models/{iris.pk}/invocations/", body, f"text/csv; {parameter}"
    )

    assert response.status_code == 400
    assert message in response.json()["detail"]
    assert not Prediction.objects.exists()


def test_usual_parameters_of_csv_are_accepted(client: APIClient, iris: ModelVersion) -> None:
    body: Any = "a,b,c,d\n5.1,3.5,1.4,0.2\n"

    response: Any = client.generic(
        "POST",
        f"/api/v1/models/{iris.pk}/invocations/",
        body,
        "text/csv; charset=UTF-8; header=present",
    )

    assert response.json() == {"predictions": ["setosa"]}
