"""Boolean columns in every format of an invocation, and in KServe's instances."""

from typing import Any

import pyarrow
import pytest
from rest_framework.test import APIClient
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from predictions.models import Prediction
from registry.models import ModelVersion
from registry.testing.artifacts import MakeArtifact
from registry.testing.versions import MakeVersion


@pytest.fixture
def member(make_artifact: MakeArtifact, make_version: MakeVersion) -> ModelVersion:
    """A pipeline of a boolean and a number: members churn."""
    rows = pyarrow.table({"member": [True, False, True, False], "age": [20.0, 30.0, 30.0, 20.0]})
    columns = ColumnTransformer(
        [("member", OneHotEncoder(), ["member"]), ("age", StandardScaler(), ["age"])]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, ["yes", "no", "yes", "no"])
    row = {"member": True, "age": 20.0}
    return make_version("member", make_artifact("member", model, row, example=[row]))


def url(version: ModelVersion) -> str:
    return f"/api/v1/models/{version.pk}/invocations"


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["age", "member"], "data": [[20.0, True], [20.0, False]]}},
        {"dataframe_split": {"data": [[True, 20.0], [False, 20.0]]}},
        {"dataframe_records": [{"member": True, "age": 20.0}, {"member": False, "age": 20.0}]},
        {"instances": [{"member": True, "age": 20.0}, {"age": 20.0, "member": False}]},
        {"instances": [[True, 20.0], [False, 20.0]]},
        {"inputs": [[True, 20.0], [False, 20.0]]},
        {"inputs": {"age": [20.0, 20.0], "member": [True, False]}},
    ],
)
def test_true_and_false_are_taken_in_every_format(
    client: APIClient, member: ModelVersion, body: dict[str, Any]
) -> None:
    response = client.post(url(member), body)

    assert response.status_code == 200, response.content
    assert response.json() == {"predictions": ["yes", "no"]}


@pytest.mark.parametrize(
    ("yes", "no"), [("True", "False"), ("true", "false"), ("TRUE", "FALSE"), ("1", "0")]
)
def test_a_boolean_in_csv_is_as_its_writers_write_it(
    client: APIClient, member: ModelVersion, yes: str, no: str
) -> None:
    body: Any = f"member,age\n{yes},20\n{no},20\n"

    response: Any = client.generic("POST", url(member), body, "text/csv")

    assert response.status_code == 200, response.content
    assert response.json() == {"predictions": ["yes", "no"]}
    flags = [row.input_data["member"] for row in Prediction.objects.order_by("pk")]
    assert flags == [True, False]
    assert {type(flag) for flag in flags} == {bool}


@pytest.mark.parametrize("cell", ["yes", "2", "1.0", "", "tRUE"])
def test_another_cell_is_no_boolean(client: APIClient, member: ModelVersion, cell: str) -> None:
    body: Any = f"member,age\n{cell},20\n"

    response: Any = client.generic("POST", url(member), body, "text/csv")

    assert response.status_code == 400
    assert "member" in str(response.json()["errors"])
    assert not Prediction.objects.exists()


def test_a_boolean_in_csv_is_not_a_text(client: APIClient, iris: ModelVersion) -> None:
    """A model of numbers refuses it as it refuses JSON's true."""
    body: Any = "a,b,c,d\nTrue,2,3,4\n"

    response: Any = client.generic("POST", url(iris), body, "text/csv")

    assert response.status_code == 400
    assert "Must be a number, not true" in response.json()["detail"]


def test_a_text_column_keeps_the_word_true(client: APIClient, mixed: ModelVersion) -> None:
    """Its encoder does not know it: so it is neither a boolean nor a missing value there."""
    body: Any = "city,age,income\nTrue,20,1\n"

    client.generic("POST", url(mixed), body, "text/csv")

    assert Prediction.objects.get().input_data["city"] == "True"
