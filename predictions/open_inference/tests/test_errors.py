"""Error responses of infer calls: authentication, unknown models, limits and failing models."""

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.open_inference.tests.calls import INFER, infer, tensor
from registry.models import Alias, ModelVersion
from registry.testing.clients import api_client
from registry.testing.versions import MakeVersion


@pytest.mark.parametrize(
    ("path", "status", "message"),
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
def test_errors_have_the_form_of_the_protocol(
    client: APIClient, champion: Alias, path: str, status: int, message: str
) -> None:
    response = infer(client, path=path)

    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]


def test_an_infer_call_needs_a_token(champion: Alias) -> None:
    response = infer(api_client())

    assert response.status_code == 401
    assert list(response.json()) == ["error"]
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not Prediction.objects.exists()


def test_an_invalid_token_answers_401(champion: Alias) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Bearer none")

    assert infer(client).status_code == 401


def test_the_token_of_a_deactivated_user_is_refused(
    client: APIClient, champion: Alias, user: User
) -> None:
    assert infer(client).status_code == 200
    User.objects.update(is_active=False)

    assert infer(client).status_code == 401
    assert Prediction.objects.count() == 1


def test_get_answers_405(client: APIClient, champion: Alias) -> None:
    response = client.get(INFER)

    assert response.status_code == 405
    assert list(response.json()) == ["error"]


def test_an_inactive_version_answers_404(client: APIClient, champion: Alias) -> None:
    ModelVersion.objects.update(is_active=False)

    assert infer(client).status_code == 404


def test_a_version_without_an_artifact_answers_409(
    client: APIClient, make_version: MakeVersion
) -> None:
    make_version("bare")

    for path in ("/v2/models/bare/versions/1/infer", "/v2/models/bare/versions/1"):
        response = infer(client, path=path) if path.endswith("infer") else client.get(path)
        assert response.status_code == 409
        assert "has no artifact yet" in response.json()["error"]


def test_a_body_above_the_limit_answers_413(
    client: APIClient, champion: Alias, settings: LazySettings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1024

    response = infer(client, id="x" * 1024)

    assert response.status_code == 413
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize("cities", [["Paris"], ["Oslo", "Paris"]])
def test_an_exception_of_the_model_answers_422_and_is_recorded(
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
