"""/v2: every example of the protocol's text, what is answered, and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.models import IdempotencyKey, Prediction
from registry.models import Alias, ModelVersion
from registry.testing.fixtures import Artifact, api_client

INFER = "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": ROW}

MakeVersion = Callable[..., ModelVersion]


@pytest.fixture
def champion(iris: ModelVersion) -> Alias:
    return Alias.objects.create(name="iris", alias="champion", version=iris)


@pytest.fixture
def second(make_version: MakeVersion, iris_artifact: Artifact) -> ModelVersion:
    return make_version("iris", iris_artifact, version="2")


def infer(client: APIClient, *inputs: Any, path: str = INFER, **body: Any) -> Any:
    return client.post(path, {"inputs": list(inputs) or [TENSOR], **body})


def tensor(name: str, datatype: str, shape: Any, data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def ids(response: Any) -> list[int]:
    told: list[int] = json.loads(response.json()["parameters"]["prediction_ids"])
    return told


# -- answers


def test_an_infer_call_is_answered_and_recorded(
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


def test_rows_are_as_many_predictions(client: APIClient, champion: Alias) -> None:
    rows = [ROW, [6.0, 2.9, 4.5, 1.5], [6.3, 3.3, 6.0, 2.5]]

    response = infer(client, tensor("features", "FP64", [3, 4], rows))

    assert response.json()["outputs"][0]["data"] == ["setosa", "versicolor", "virginica"]
    recorded = [Prediction.objects.get(pk=pk) for pk in ids(response)]
    assert [row.input_data["features"] for row in recorded] == rows


def test_a_recorded_row_is_asked_again_with_the_same_answer(
    client: APIClient, champion: Alias
) -> None:
    infer(client, tensor("features", "FP32", [1, 4], [0.1, 0.2, 0.3, 0.4]))
    row = Prediction.objects.get()

    body = {"model_id": row.model_id, "input_data": row.input_data}
    again = client.post("/api/v1/predictions/", body).json()

    assert again["output"] == row.output


def test_a_table_may_have_any_name(client: APIClient, champion: Alias) -> None:
    assert infer(client, {**TENSOR, "name": "input-0"}).status_code == 200
    assert Prediction.objects.get().input_data == {"features": ROW}


def test_columns_come_one_a_tensor(
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


def test_a_table_with_names_is_taken_whole_or_by_column(
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


def test_outputs_are_chosen_and_ordered(client: APIClient, champion: Alias) -> None:
    response = infer(client, outputs=[{"name": "probabilities"}, {"name": "label"}])

    assert [one["name"] for one in response.json()["outputs"]] == ["probabilities", "label"]


def test_several_outputs_are_a_tensor_each(
    client: APIClient, make_version: MakeVersion, pair_artifact: Artifact
) -> None:
    make_version("pair", pair_artifact)
    rows = [[1.5, 2.0], [0.0, 1.0]]

    response = infer(
        client, tensor("x", "FP64", [2, 2], rows), path="/v2/models/pair/versions/1/infer"
    )

    told = {one["name"]: one["data"] for one in response.json()["outputs"]}
    expected = pair_artifact.model.predict(rows)
    assert np.allclose([told["y0"], told["y1"]], expected.T)


def test_without_an_id_the_requests_own_is_told(client: APIClient, champion: Alias) -> None:
    response = client.post(INFER, {"inputs": [TENSOR]}, headers={"X-Request-ID": "order-17"})

    assert response.json()["id"] == "order-17"
    assert Prediction.objects.get().request_id == "order-17"


# -- who answers


def test_a_version_is_asked_by_its_name(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    response = infer(client, path="/v2/models/iris/versions/2/infer")

    row = Prediction.objects.get()
    assert response.json()["model_version"] == "2"
    assert (row.model_id, row.alias, row.arm) == (second.pk, None, None)


@pytest.mark.parametrize("name", ["iris@staging", "iris%40staging"])
def test_an_alias_is_asked_by_its_name(
    client: APIClient, champion: Alias, second: ModelVersion, name: str
) -> None:
    Alias.objects.create(name="iris", alias="staging", version=second)

    assert infer(client, path=f"/v2/models/{name}/infer").json()["model_version"] == "2"
    assert Prediction.objects.get().alias == "staging"


def test_a_subject_stays_on_its_arm_of_a_canary(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    Alias.objects.update(canary=second, canary_percent=50)

    def arm_of(subject: str) -> str:
        response = infer(client, parameters={"subject": subject})
        return str(response.json()["model_version"])

    arms = {subject: arm_of(subject) for subject in map(str, range(12))}

    assert set(arms.values()) == {"1", "2"}
    assert {subject: arm_of(subject) for subject in arms} == arms
    arm = dict(Prediction.objects.values_list("model__version", "arm"))
    assert arm == {"1": "primary", "2": "canary"}


# -- parameters


def test_parameters_are_kept_with_the_row(client: APIClient, champion: Alias) -> None:
    infer(
        client,
        parameters={
            "subject": "ada",
            "reference": "order-1",
            "metadata": '{"n": 1e300}',
            "priority": 3,
        },
    )

    row = Prediction.objects.get()
    assert (row.subject, row.reference, row.metadata) == ("ada", "order-1", {"n": 1e300})


def test_references_come_one_a_row(client: APIClient, champion: Alias) -> None:
    infer(
        client,
        tensor("x", "FP64", [2, 4], ROW * 2),
        parameters={"references": '["a", null]', "subject": "ada"},
    )

    rows = Prediction.objects.order_by("pk")
    assert [(row.reference, row.subject) for row in rows] == [("a", "ada"), (None, "ada")]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("in_header", [True, False])
def test_a_retry_gets_the_same_answer_and_no_second_row(
    client: APIClient, champion: Alias, second: ModelVersion, n: int, in_header: bool
) -> None:
    body: dict[str, Any] = {"id": "1", "inputs": [tensor("x", "FP64", [n, 4], ROW * n)]}
    headers = {"Idempotency-Key": "k"} if in_header else {}
    if not in_header:
        body["parameters"] = {"idempotency_key": "k"}

    first = client.post(INFER, body, headers=headers)
    # Who answers now is another version: the retry tells of the first.
    Alias.objects.update(version=second)
    again = client.post(INFER, body, headers=headers)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert Prediction.objects.count() == n


def test_a_key_of_another_request_is_422(client: APIClient, champion: Alias) -> None:
    infer(client, parameters={"idempotency_key": "k"})

    response = infer(client, id="other", parameters={"idempotency_key": "k"})

    assert response.status_code == 422
    assert "was used for another request" in response.json()["error"]


def test_a_stored_answer_is_for_active_users_alone(
    client: APIClient, champion: Alias, user: User
) -> None:
    infer(client, parameters={"idempotency_key": "k"})
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert infer(client, parameters={"idempotency_key": "k"}).status_code == 401
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ([], "the parameters of the request must be an object"),
        ({"subject": 5}, "subject must be text of 1 to 200"),
        ({"subject": " "}, "subject must be text of 1 to 200"),
        ({"reference": "x" * 201}, "reference must be text of 1 to 200"),
        ({"references": ["a"]}, "references must be a string that contains JSON"),
        ({"references": "[1]"}, "references[0] must be text"),
        ({"references": "{}"}, "references must be the JSON text of a list"),
        ({"references": '["a", "b"]'}, "references has 2 entries for 1 rows"),
        ({"reference": "a", "references": '["a"]'}, "reference is for a single row"),
        ({"metadata": {"a": 1}}, "metadata must be a string that contains JSON"),
        ({"metadata": "[1]"}, "metadata must be the JSON text of an object"),
        ({"metadata": "{"}, "metadata is not valid JSON"),
        ({"metadata": json.dumps({"a": "x" * 65_536})}, "metadata: Must not take more than"),
        ({"idempotency_key": 1}, "idempotency_key must be text"),
        ({"idempotency_key": ""}, "1 to 255 printable ASCII"),
        ({"binary_data_output": "yes"}, "binary_data_output of the request must be true or false"),
    ],
)
def test_a_bad_parameter_answers_400_that_names_it(
    client: APIClient, champion: Alias, parameters: Any, said: str
) -> None:
    response = infer(client, parameters=parameters)

    assert response.status_code == 400
    assert said in response.json()["error"]
    assert not Prediction.objects.exists()


# -- the examples of the protocol's text. Its models are not there: what is wrong is said before a
# model is asked, and what is right meets a model of our own.

MATRIX = {"name": "x", "shape": [2, 2], "datatype": "UINT32"}
EXAMPLES_ACCEPTED: list[Any] = [
    # "Its natural format", and flattened.
    {**MATRIX, "data": [[1, 2], [4, 5]]},
    {**MATRIX, "data": [1, 2, 4, 5]},
    {**MATRIX, "data": [1, 2, 3, 4]},
    {**MATRIX, "parameters": {}, "data": [1, 2, 3, 4]},
    {**MATRIX, "parameters": {"a": "text", "b": 1.5, "c": True}, "data": [1, 2, 3, 4]},
]


@pytest.mark.parametrize("example", EXAMPLES_ACCEPTED)
@pytest.mark.parametrize("beside", [{}, {"id": "42"}, {"outputs": [{"name": "y0"}]}])
def test_examples_of_the_protocol_are_answered(
    client: APIClient,
    make_version: MakeVersion,
    pair_artifact: Artifact,
    example: Any,
    beside: dict[str, Any],
) -> None:
    make_version("pair", pair_artifact)

    response = infer(client, example, path="/v2/models/pair/versions/1/infer", **beside)

    assert response.status_code == 200, response.content
    answer = response.json()
    assert {"model_name", "outputs"} <= answer.keys()
    assert answer["id"] == beside.get("id", response["X-Request-ID"])
    for output in answer["outputs"]:
        assert output.keys() == {"name", "shape", "datatype", "data"}
        assert len(output["data"]) == np.prod(output["shape"])
    values = np.array(example["data"]).reshape(2, 2)
    assert np.allclose(answer["outputs"][0]["data"], pair_artifact.model.predict(values)[:, 0])


def test_the_protocols_request_breaks_its_own_rule(client: APIClient, champion: Alias) -> None:
    response = client.post(
        INFER,
        {
            "id": "42",
            "inputs": [
                {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
                {"name": "input1", "shape": [3], "datatype": "BOOL", "data": [True]},
            ],
            "outputs": [{"name": "output0"}],
        },
    )

    assert response.status_code == 400
    assert response.json() == {"error": "'input1' has 1 values, not as many as [3]"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], 'Must be an object with "inputs"'),
        ("text", 'Must be an object with "inputs"'),
        ({}, "inputs must be a list of at least one tensor"),
        ({"inputs": []}, "inputs must be a list of at least one tensor"),
        ({"inputs": {}}, "inputs must be a list of at least one tensor"),
        ({"inputs": [1]}, "inputs[0] must be an object"),
        ({"inputs": [{**TENSOR, "name": ""}]}, "inputs[0].name must be text"),
        ({"inputs": [{**TENSOR, "name": 1}]}, "inputs[0].name must be text"),
        ({"inputs": [{**TENSOR, "datatype": "BF16"}]}, "datatype must be one of 'BOOL', 'INT8'"),
        ({"inputs": [{**TENSOR, "datatype": ["FP64"]}]}, "datatype must be one of"),
        ({"inputs": [{**TENSOR, "datatype": "fp64"}]}, "datatype must be one of"),
        ({"inputs": [{**TENSOR, "shape": None}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": []}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [1] * 11}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [-1, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [0, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [1.0, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [True, 4]}]}, "shape must be a list of 1 to 10"),
        ({"inputs": [{**TENSOR, "shape": [2, 4]}]}, "has 4 values, not as many as [2, 4]"),
        ({"inputs": [{**TENSOR, "shape": [2**62, 2**62]}]}, "has 4 values, not as many as"),
        ({"inputs": [{**TENSOR, "data": None}]}, "'features' has no data"),
        ({"inputs": [{**TENSOR, "data": 5.1}]}, "'features' has no data"),
        ({"inputs": [{**TENSOR, "data": [[1, 2], [3, 4]]}]}, "is not nested as its shape [1, 4]"),
        ({"inputs": [{**TENSOR, "data": [1, 2, [3], 4]}]}, "at place 2 a value that is no FP64"),
        ({"inputs": [{**TENSOR, "data": [1, 2, "3", 4]}]}, "at place 2 a value that is no FP64"),
        ({"inputs": [{**TENSOR, "data": [1, 2, True, 4]}]}, "at place 2 a value that is no FP64"),
        ({"inputs": [{**TENSOR, "data": [1, 2, None, 4]}]}, "rows[0].features[2]: Must not be nu"),
        ({"inputs": [{**TENSOR, "parameters": 1}]}, "parameters of 'features' must be an object"),
        ({"inputs": [TENSOR, TENSOR]}, "input 'features' is given twice"),
        ({"inputs": [TENSOR], "id": 42}, "id must be text"),
        ({"inputs": [TENSOR], "outputs": {}}, "outputs must be a list"),
        ({"inputs": [TENSOR], "outputs": [1]}, 'outputs[0] must be an object with a "name"'),
        ({"inputs": [TENSOR], "outputs": [{}]}, 'outputs[0] must be an object with a "name"'),
        ({"inputs": [TENSOR], "outputs": [{"name": "none"}]}, "'none' is no output: there are"),
        ({"inputs": [TENSOR], "outputs": [{"name": "label"}] * 2}, "'label' is asked for twice"),
        (
            {
                "inputs": [TENSOR],
                "outputs": [{"name": "label", "parameters": {"classification": 2}}],
            },
            "outputs[0]: classification is not offered",
        ),
        (
            {"inputs": [{**TENSOR, "data": None, "parameters": {"shared_memory_region": "a"}}]},
            "shared memory is not offered",
        ),
        ({"inputs": [{**TENSOR, "shape": [1, 5], "data": [*ROW, 1]}]}, "Must hold 4 values, not 5"),
        ({"inputs": [{**TENSOR, "shape": [4]}]}, "rows[0].features: Must hold 4 values, not 1."),
        ({"inputs": [{**TENSOR, "shape": [1, 2, 2]}]}, "'features' has the shape [1, 2, 2]"),
        (
            {"inputs": [TENSOR, {**TENSOR, "name": "more"}]},
            "'more' is no input of this model; it takes 'features'",
        ),
        (
            {"inputs": [TENSOR, {**TENSOR, "name": "more", "shape": [2, 2]}]},
            "'more' has 2 rows, and 'features' 1",
        ),
    ],
    ids=lambda value: str(value)[:70],
)
def test_what_is_wrong_answers_400_in_the_protocols_shape(
    client: APIClient, champion: Alias, body: Any, said: str
) -> None:
    response = client.post(INFER, body)

    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert said in response.json()["error"]
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Not acceptable as JSON"),
        (b"{", "Not acceptable as JSON"),
        (b'{"inputs": [NaN]}', "Not acceptable as JSON"),
        (b'{"id": "\\u0000", "inputs": []}', "U+0000"),
        (b'{"id": "a", "inputs": [18446744073709551616]}', "past 64 bits"),
        (b"[" * 200 + b"]" * 200, "deeper than 100"),
        (b"\xff", "Not acceptable as JSON"),
    ],
)
def test_what_is_no_json_answers_400(
    client: APIClient, champion: Alias, body: Any, said: str
) -> None:
    response = client.generic("POST", INFER, body, content_type="application/json")

    assert response.status_code == 400
    assert said in response.json()["error"]


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/octet-stream", "text/plain"]
)
def test_any_type_of_content_is_taken(
    client: APIClient, champion: Alias, content_type: str
) -> None:
    body = json.dumps({"inputs": [TENSOR]})

    assert client.generic("POST", INFER, body, content_type=content_type).status_code == 200


def test_a_compressed_body_is_refused(client: APIClient, champion: Alias) -> None:
    response = client.post(INFER, {"inputs": [TENSOR]}, headers={"Content-Encoding": "gzip"})

    assert response.status_code == 400
    assert "Content-Encoding is not supported" in response.json()["error"]


# -- errors around it


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v2/models/wine/infer", 404, "Model wine@champion not found: no such alias"),
        ("/v2/models/iris/versions/9/infer", 404, "Model iris:9 not found or inactive"),
        ("/v2/models/iris@none/infer", 404, "Model iris@none not found: no such alias"),
        ("/v2/models/a b/infer", 404, "There is nothing at"),
        ("/v2/models/%00/infer", 404, "There is nothing at"),
        ("/v2/models/iris/explain", 404, "There is nothing at"),
        ("/v2/nothing", 404, "There is nothing at"),
    ],
)
def test_errors_have_the_protocols_shape(
    client: APIClient, champion: Alias, path: str, status: int, said: str
) -> None:
    response = infer(client, path=path)

    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert said in response.json()["error"]


def test_nobody_infers_without_a_token(champion: Alias) -> None:
    response = infer(api_client())

    assert response.status_code == 401
    assert list(response.json()) == ["error"]
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not Prediction.objects.exists()


def test_a_wrong_token_is_401(champion: Alias) -> None:
    stranger = APIClient()
    stranger.credentials(HTTP_AUTHORIZATION="Bearer none")

    assert infer(stranger).status_code == 401


def test_the_token_of_a_deactivated_user_ends(
    client: APIClient, champion: Alias, user: User
) -> None:
    assert infer(client).status_code == 200
    User.objects.update(is_active=False)

    assert infer(client).status_code == 401
    assert Prediction.objects.count() == 1


def test_a_get_is_405(client: APIClient, champion: Alias) -> None:
    response = client.get(INFER)

    assert response.status_code == 405
    assert list(response.json()) == ["error"]


def test_an_inactive_version_is_404(client: APIClient, champion: Alias) -> None:
    ModelVersion.objects.update(is_active=False)

    assert infer(client).status_code == 404


def test_a_version_without_an_artifact_is_409(client: APIClient, make_version: MakeVersion) -> None:
    make_version("bare")

    for path in ("/v2/models/bare/versions/1/infer", "/v2/models/bare/versions/1"):
        response = infer(client, path=path) if path.endswith("infer") else client.get(path)
        assert response.status_code == 409
        assert "has no artifact yet" in response.json()["error"]


def test_a_body_past_the_limit_is_413(
    client: APIClient, champion: Alias, settings: LazySettings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1024

    response = infer(client, id="x" * 1024)

    assert response.status_code == 413
    assert list(response.json()) == ["error"]


def test_more_rows_than_a_batch_may_have_are_400(
    client: APIClient, champion: Alias, settings: LazySettings
) -> None:
    settings.MAX_BATCH_ROWS = 2

    response = infer(client, tensor("x", "FP64", [3, 4], ROW * 3))

    assert response.status_code == 400
    assert "has 3 rows, where 2 may be" in response.json()["error"]


def test_a_bad_value_is_named_by_its_row(client: APIClient, champion: Alias) -> None:
    response = infer(client, tensor("x", "FP64", [2, 4], [*ROW, 1, 2, None, 4]))

    assert response.status_code == 400
    assert response.json()["error"].startswith("rows[1].features[2]: Must not be null")
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("cities", [["Paris"], ["Oslo", "Paris"]])
def test_a_model_that_raises_is_422_and_recorded(
    client: APIClient, mixed: ModelVersion, cities: list[str]
) -> None:
    n = len(cities)
    response = infer(
        client,
        tensor("city", "BYTES", [n], cities),
        tensor("age", "FP64", [n], [20.5] * n),
        tensor("income", "FP64", [n], [1.5] * n),
        path="/v2/models/mixed/versions/1/infer",
    )

    row = Prediction.objects.get()
    assert response.status_code == 422
    assert row.status == "failed"
    assert "Paris" in response.json()["error"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["city", "age"], "missing 'income'; it takes 'city', 'age', 'income'"),
        (["city", "age", "income", "height"], "'height' is no input of this model"),
    ],
)
def test_missing_and_unknown_columns_are_named(
    client: APIClient, mixed: ModelVersion, given: list[str], said: str
) -> None:
    tensors = [
        tensor(name, "BYTES" if name == "city" else "FP64", [1], ["a" if name == "city" else 1.0])
        for name in given
    ]

    response = infer(client, *tensors, path="/v2/models/mixed/versions/1/infer")

    assert response.status_code == 400
    assert said in response.json()["error"]


def test_an_infer_of_a_loaded_model_costs_two_statements(
    client: APIClient, champion: Alias, django_assert_max_num_queries: Any
) -> None:
    infer(client)

    # As a prediction by name: the reference, and on SQLite the recording and its savepoint.
    with django_assert_max_num_queries(4):
        infer(client)
