"""Requested outputs: under the model's own names, and under those of MLServer."""

import base64
from typing import Any

import pytest
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference.selection import Selection, select_outputs
from predictions.open_inference.tests.calls import infer, tensor
from registry.models import Alias, ModelVersion
from registry.open_inference.binary import TensorError
from registry.open_inference.messages import RequestedOutput
from registry.signatures.signature import Input, Output, Signature


def outputs_of(response: Any) -> dict[str, dict[str, Any]]:
    assert response.status_code == 200, response.content
    return {output["name"]: output for output in response.json()["outputs"]}


def test_mlservers_names_are_those_of_the_label_and_the_probabilities(
    client: APIClient, champion: Alias
) -> None:
    own = outputs_of(infer(client))

    response = infer(
        client, outputs=[{"name": name} for name in ("predict_proba", "label", "predict")]
    )

    assert list(outputs_of(response)) == ["predict_proba", "label", "predict"]
    outputs = outputs_of(response)
    assert outputs["predict"] == own["label"] | {"name": "predict"}
    assert outputs["predict_proba"] == own["probabilities"] | {"name": "predict_proba"}
    assert outputs["label"] == own["label"]


def test_predict_is_the_value_of_a_regressor(client: APIClient, diabetes: ModelVersion) -> None:
    row = tensor("x", "FP64", [1, 10], [0.1] * 10)
    path = "/v2/models/diabetes:1/infer"

    own = outputs_of(infer(client, row, path=path))
    asked = outputs_of(infer(client, row, path=path, outputs=[{"name": "predict"}]))
    refused = infer(client, row, path=path, outputs=[{"name": "predict_proba"}])

    assert asked["predict"]["data"] == own["value"]["data"]
    assert refused.status_code == 400
    assert "does not answer 'predict_proba'; it has 'value'" in refused.json()["error"]
    assert Prediction.objects.count() == 2


# -- models of every kind, by their signatures


LABEL = Output("label", "INT64", (-1,), "label", (0, 1))
PROBABILITIES = Output("probabilities", "FP64", (-1, 2), "probabilities")
VALUE = Output("value", "FP64", (-1,))
VECTOR = Output("value", "FP64", (-1, 3))
OTHER = Output("other", "FP64", (-1,))


@pytest.mark.parametrize(
    ("framework", "outputs", "name", "expected"),
    [
        ("sklearn", [LABEL, PROBABILITIES], "predict", "label"),
        ("sklearn", [LABEL], "predict", "label"),
        ("sklearn", [VECTOR], "transform", "value"),
        ("xgboost", [VECTOR], "predict", "value"),
        ("xgboost", [LABEL, PROBABILITIES], "predict_proba", "probabilities"),
        ("lightgbm", [VALUE], "predict", "value"),
        ("lightgbm", [LABEL, PROBABILITIES], "predict_proba", "probabilities"),
        ("onnx", [LABEL, PROBABILITIES], "predict", "label"),
    ],
)
def test_a_method_is_the_output_that_it_computes(
    framework: str, outputs: list[Output], name: str, expected: str
) -> None:
    [selected] = select(framework, outputs, name)

    assert (selected.output.name, selected.name) == (expected, name)


@pytest.mark.parametrize(
    ("framework", "outputs", "name", "message"),
    [
        ("sklearn", [LABEL], "predict_proba", "does not answer 'predict_proba'"),
        ("sklearn", [VECTOR], "predict", "does not answer 'predict'"),
        ("sklearn", [VALUE], "transform", "does not answer 'transform'"),
        ("onnx", [PROBABILITIES], "predict", "does not answer 'predict'"),
        ("sklearn", [VALUE, OTHER], "predict", "several outputs of this model; it has 'value', 'o"),
        # MLServer's runtime for LightGBM answers the probabilities there.
        ("lightgbm", [LABEL, PROBABILITIES], "predict", "is the label in scikit-learn but"),
    ],
)
def test_a_method_that_could_mean_another_output_is_refused(
    framework: str, outputs: list[Output], name: str, message: str
) -> None:
    with pytest.raises(TensorError, match=message):
        select(framework, outputs, name)


def test_an_output_of_that_name_comes_first() -> None:
    outputs = [LABEL, Output("predict", "FP64", (-1,))]

    assert select("sklearn", outputs, "predict")[0].output is outputs[1]


def select(framework: str, outputs: list[Output], name: str) -> list[Selection]:
    signature = Signature((Input("features", "FP64", (-1, 2)),), tuple(outputs))
    return select_outputs([RequestedOutput(name)], signature, framework=framework, is_binary=False)


# -- refusals, and content types


@pytest.mark.parametrize("name", ["decision_function", "wide"])
def test_another_name_is_refused_with_the_outputs(
    client: APIClient, champion: Alias, name: str
) -> None:
    response = infer(client, outputs=[{"name": name}])

    assert response.status_code == 400
    assert f"'{name}' is not an output of this model; it has 'label'" in response.json()["error"]
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("is_binary", [False, True])
def test_an_output_is_sent_in_the_requested_content_type(
    client: APIClient, champion: Alias, is_binary: bool
) -> None:
    def requested(content_type: str) -> list[dict[str, object]]:
        parameters = {"content_type": content_type, "binary_data": is_binary}
        return [{"name": "predict", "parameters": parameters}]

    plain, encoded = (infer(client, outputs=requested(kind)) for kind in ("str", "base64"))

    expected = base64.b64encode(b"setosa")
    if is_binary:
        assert encoded.content.endswith(len(expected).to_bytes(4, "little") + expected)
        return
    assert outputs_of(plain)["predict"]["data"] == ["setosa"]
    assert outputs_of(plain)["predict"]["parameters"] == {"content_type": "str"}
    assert outputs_of(encoded)["predict"]["data"] == [expected.decode()]
    assert outputs_of(encoded)["predict"]["parameters"] == {"content_type": "base64"}


@pytest.mark.parametrize(
    ("name", "content_type", "message"),
    [
        ("probabilities", "str", "the content_type 'str' is for BYTES, not FP64"),
        ("probabilities", "base64", "the content_type 'base64' is for BYTES, not FP64"),
        ("label", "datetime", "outputs[0]: the content_type 'datetime' is not supported"),
        ("label", "pd", "the content_type 'pd' is not supported there, only for a whole request"),
        ("label", "pd_json", "the content_type 'pd_json' is not supported there, only for a ten"),
        ("label", 5, "the content_type 5 is not supported; use np, str, base64"),
    ],
)
def test_a_content_type_that_an_output_cannot_have_is_refused(
    client: APIClient, champion: Alias, name: str, content_type: object, message: str
) -> None:
    response = infer(client, outputs=[{"name": name, "parameters": {"content_type": content_type}}])

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert not Prediction.objects.exists()
