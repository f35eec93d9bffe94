"""Explanations over the API: of every kind of model, and the refusals."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient
from sklearn.datasets import load_iris

from predictions.evaluation.explanations import explaining
from predictions.models import Prediction, Reference
from predictions.testing.faces import register
from registry.loading import loader
from registry.models import AuditEvent, ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.testing import trained_models
from registry.testing.clients import api_client

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("in_process_sandbox", "model_path"),
]

URL = "/api/v1/predictions/"


def predict(client: APIClient, version: ModelVersion, row: Any) -> Any:
    input_data = row if isinstance(row, dict) else {"features": row}
    response: Any = client.post(URL, {"model_id": version.pk, "input_data": input_data})
    assert response.status_code == 201, response.content
    return response.json()


def explain(client: APIClient, prediction_id: int) -> Any:
    return client.get(f"{URL}{prediction_id}/explanation/")


def set_reference(version: ModelVersion, rows: Any) -> Reference:
    return Reference.objects.create(
        model=version,
        source="file",
        rows=len(rows),
        profile={},
        digest="",
        background=[{"features": row} for row in rows],
    )


def require_sum(document: Any, recorded: Any) -> None:
    """Each part adds up, and stands for the number that the log has."""
    for part in document["outputs"]:
        total = part["base_value"] + sum(item["contribution"] for item in part["contributions"])
        assert part["sum"] == pytest.approx(total, abs=1e-9, rel=1e-12)
        assert abs(part["difference"]) <= 1e-6 * max(1.0, abs(part["recorded"]))
        expected = recorded["prediction"]
        if part["label"] is not None:
            expected = recorded["output"]["probabilities"][str(part["label"])]
        assert part["recorded"] == expected


@pytest.fixture
def trained(admin_api: APIClient, tmp_path: Path) -> Callable[[str], tuple[ModelVersion, Any]]:
    """A registered model of `registry.testing.trained_models`, and rows to score."""

    def make(name: str) -> tuple[ModelVersion, Any]:
        framework = {"skops": "sklearn"}.get(name.split("_")[1], name.split("_")[1])
        path = tmp_path / f"model{FRAMEWORKS[framework].suffixes[0]}"
        model = getattr(trained_models, name)(path)
        version = register(admin_api, model.path, name=name, framework=framework)
        rows = model.rows
        if rows is None:
            rows = load_iris(return_X_y=True)[0]
        return version, np.asarray(rows, np.float64).tolist()

    return make


@pytest.mark.parametrize(
    ("name", "method", "link", "n_parts"),
    [
        ("iris_xgboost", "tree_shap", "softmax", 3),
        ("diabetes_xgboost", "tree_shap", "identity", 1),
        ("iris_lightgbm", "tree_shap", "softmax", 3),
        ("diabetes_lightgbm", "tree_shap", "identity", 1),
        ("iris_catboost", "tree_shap", "softmax", 3),
        ("diabetes_catboost", "tree_shap", "identity", 1),
        ("iris_skops", "linear", "softmax", 3),
        ("diabetes_skops", "linear", "identity", 1),
        ("histogram_skops", "exact_shapley", "identity", 3),
        ("wine_skops", "sampled_shapley", "identity", 3),
        ("iris_onnx", "exact_shapley", "identity", 3),
        ("diabetes_onnx", "sampled_shapley", "identity", 1),
    ],
)
def test_contributions_add_up_to_the_recorded_answer(
    client: APIClient,
    trained: Callable[[str], tuple[ModelVersion, Any]],
    name: str,
    method: str,
    link: str,
    n_parts: int,
) -> None:
    version, rows = trained(name)
    recorded = predict(client, version, rows[0])
    reference = set_reference(version, rows[::9])

    response = explain(client, recorded["id"])

    assert response.status_code == 200, response.content
    document = response.json()
    assert (document["method"], document["link"]) == (method, link)
    assert len(document["outputs"]) == n_parts
    require_sum(document, recorded)
    shown = [item["value"] for item in document["outputs"][0]["contributions"]]
    assert shown == pytest.approx(rows[0], rel=1e-6)
    assert document["sha256"] == version.sha256
    if method == "tree_shap":
        assert document["background"] == {"kind": "training", "reference_id": None, "rows": 0}
    else:
        assert document["background"]["kind"] == "reference"
        assert document["background"]["reference_id"] == reference.pk
    is_sampled = method == "sampled_shapley"
    errors = [item["standard_error"] for item in document["outputs"][0]["contributions"]]
    assert all((error is not None) == is_sampled for error in errors)
    assert explain(client, recorded["id"]).json() == document


def test_a_linear_model_without_a_reference_is_compared_with_zeros(
    client: APIClient, iris: ModelVersion, diabetes: ModelVersion
) -> None:
    row = dict.fromkeys(diabetes.signature["inputs"][0]["features"], 0.03)
    recorded = predict(client, diabetes, row)

    document = explain(client, recorded["id"]).json()

    assert document["background"] == {"kind": "zeros", "reference_id": None, "rows": 1}
    require_sum(document, recorded)
    assert [item["feature"] for item in document["outputs"][0]["contributions"]] == list(row)


def test_a_forest_without_a_reference_is_refused(
    client: APIClient, trained: Callable[[str], tuple[ModelVersion, Any]]
) -> None:
    version, rows = trained("wine_skops")
    recorded = predict(client, version, rows[0])

    response = explain(client, recorded["id"])

    assert response.status_code == 409
    assert "has no reference" in response.json()["detail"]
    assert f"/api/v1/models/{version.pk}/reference/" in response.json()["detail"]


def test_texts_and_missing_values_are_features_too(
    client: APIClient, mixed: ModelVersion, mixed_artifact: Any
) -> None:
    row = dict(mixed_artifact.row)
    recorded = predict(client, mixed, row)
    Reference.objects.create(
        model=mixed, source="file", rows=2, profile={}, digest="", background=[row, row]
    )

    document = explain(client, recorded["id"]).json()

    require_sum(document, recorded)
    values = {item["feature"]: item["value"] for item in document["outputs"][0]["contributions"]}
    assert values == row
    # Compared with itself, no feature contributes anything.
    assert all(item["contribution"] == 0 for item in document["outputs"][0]["contributions"])


def test_a_deactivated_version_is_still_explained(client: APIClient, iris: ModelVersion) -> None:
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])
    ModelVersion.objects.filter(pk=iris.pk).update(is_active=False)
    loader.cache.drop([iris.pk])

    assert explain(client, recorded["id"]).status_code == 200


def test_a_changed_file_is_not_explained(
    client: APIClient, iris: ModelVersion, model_path: Path
) -> None:
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])
    loader.cache.drop([iris.pk])
    (model_path / iris.artifact).write_bytes(b"another file")

    response = explain(client, recorded["id"])

    assert response.status_code == 503
    assert "changed on disk" in response.json()["detail"]


@pytest.mark.parametrize("isolation", ["always", "never"])
def test_a_model_is_explained_where_it_is_scored(
    client: APIClient, iris: ModelVersion, settings: LazySettings, isolation: str
) -> None:
    settings.MODEL_ISOLATION = isolation
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])

    require_sum(explain(client, recorded["id"]).json(), recorded)


def test_an_answer_that_is_not_the_models_is_refused(
    client: APIClient, diabetes: ModelVersion
) -> None:
    row = dict.fromkeys(diabetes.signature["inputs"][0]["features"], 0.03)
    recorded = predict(client, diabetes, row)
    Prediction.objects.update(prediction=recorded["prediction"] + 0.01)

    response = explain(client, recorded["id"])

    assert response.status_code == 409
    assert "but the recorded answer is" in response.json()["detail"]


def test_masked_inputs_are_refused(client: APIClient, diabetes: ModelVersion) -> None:
    signature: Any = diabetes.signature
    row = dict.fromkeys(signature["inputs"][0]["features"], 0.03)
    signature["inputs"][0]["sensitive"] = {"bmi": "hash"}
    diabetes.save()

    recorded = predict(client, diabetes, row)

    response = explain(client, recorded["id"])
    assert response.status_code == 409
    assert "masked" in response.json()["detail"]


def test_failed_predictions_are_refused(client: APIClient, iris: ModelVersion, user: User) -> None:
    row = Prediction.objects.create(
        model=iris, input_data={}, user=user, status="failed", error="no"
    )

    assert explain(client, row.pk).status_code == 409


@pytest.mark.parametrize(
    ("input_data", "output"),
    [
        ({"features": [1, 2]}, {"label": "setosa", "probabilities": {}}),
        ({"features": [1, 2, 3, 4]}, None),
        ({"features": [1, 2, 3, 4]}, {"label": "setosa"}),
        ([1, 2], {"label": "setosa", "probabilities": {"setosa": 1.0}}),
    ],
)
def test_predictions_that_were_made_elsewhere_are_refused_if_they_do_not_fit(
    client: APIClient, iris: ModelVersion, user: User, input_data: Any, output: Any
) -> None:
    row = Prediction.objects.create(
        model=iris, input_data=input_data, user=user, prediction=0.0, output=output
    )

    response = explain(client, row.pk)

    assert response.status_code == 409, response.content


def test_a_version_without_a_file_cannot_be_explained(
    client: APIClient, make_version: Any, user: User
) -> None:
    version = make_version("elsewhere")
    row = Prediction.objects.create(model=version, input_data={}, user=user, prediction=1.0)

    assert explain(client, row.pk).status_code == 409


def test_only_one_prediction_is_explained_at_a_time(client: APIClient, iris: ModelVersion) -> None:
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])

    with explaining._alone():
        response = explain(client, recorded["id"])

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert explain(client, recorded["id"]).status_code == 200


def test_an_explanation_ends_at_its_deadline(
    client: APIClient,
    trained: Callable[[str], tuple[ModelVersion, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version, rows = trained("diabetes_onnx")
    recorded = predict(client, version, rows[0])
    set_reference(version, rows[:50])
    runtime = loader.get(version.pk).runtime
    slow = runtime.predict

    def predict_slowly(inputs: Any) -> Any:
        time.sleep(0.1)
        return slow(inputs)

    monkeypatch.setattr(runtime, "predict", predict_slowly)

    response: Any = client.get(
        f"{URL}{recorded['id']}/explanation/", headers={"X-Request-Timeout-Ms": "200"}
    )

    assert response.status_code == 504
    assert "No answer within 0.2 s" in response.json()["detail"]


def test_explanations_follow_the_rights_to_the_log(client: APIClient, iris: ModelVersion) -> None:
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])
    stranger = api_client(User.objects.create_user("stranger"))
    reader = User.objects.create_superuser("reader")

    assert explain(stranger, recorded["id"]).status_code == 404
    assert explain(api_client(reader), recorded["id"]).status_code == 200
    event = AuditEvent.objects.get(action=AuditEvent.Action.PREDICTIONS_READ)
    assert event.target == f"explanation of prediction {recorded['id']}"
    assert explain(client, 10**15).status_code == 404


def test_the_admin_explains_on_demand(
    admin_client: Client, client: APIClient, iris: ModelVersion
) -> None:
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])
    url = f"/admin/predictions/prediction/{recorded['id']}/change/"
    page = admin_client.get(url).content.decode()
    explained = admin_client.get(url, {"explain": "1"}).content.decode()

    assert "?explain=1" in page
    assert "By linear" not in page
    assert "<caption>label: setosa</caption>" in explained
    assert "<figcaption>Contributions to setosa</figcaption>" in explained
    assert "/static/predictions/charts.js" in explained
    assert "By linear, compared with an input of zeros" in explained


def test_a_reference_that_was_set_over_the_api_is_the_background(
    admin_api: APIClient, client: APIClient, iris: ModelVersion
) -> None:
    names = ",".join(f"features[{i}]" for i in range(4))
    lines = [names, *(",".join(map(str, row)) for row in load_iris().data[::3].tolist())]
    form = {"file": SimpleUploadedFile("rows.csv", "\n".join(lines).encode())}
    url = f"/api/v1/models/{iris.pk}/reference/"
    assert admin_api.put(url, form, format="multipart").status_code == 200
    recorded = predict(client, iris, [5.1, 3.5, 1.4, 0.2])
    document = explain(client, recorded["id"]).json()

    assert document["background"]["kind"] == "reference"
    assert 1 < document["background"]["rows"] <= 50
    require_sum(document, recorded)
