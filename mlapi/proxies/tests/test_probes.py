from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from mlapi.server.in_flight import REFUSAL
from registry.testing.clients import permit

PROBES = [
    "/health",
    "/health/",
    "/health/live/",
    "/health/ready",
    "/metrics",
    "/metrics/",
    "/v2/health/live",
    "/v2/health/ready/",
    "/v2/models/m/ready",
    "/v2/models/m/versions/1/ready",
]
OTHERS = ["/api/v1/models/", "/v2", "/v2/models/m", "/api/docs/", "/healthy", "/metrics/x", "/"]
POD = "10.1.2.3:8000"


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def redirecting(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.fixture
def headers(user: User) -> dict[str, str]:
    # Who may read every log may read the metrics.
    reader = permit(user, "view_prediction")
    return {"Authorization": f"Bearer {AccessToken.for_user(reader)}"}


@pytest.mark.usefixtures("redirecting", "db")
@pytest.mark.parametrize("path", PROBES)
def test_probes_and_scrapes_are_not_redirected_to_https(client: Client, path: str) -> None:
    assert client.get(path).status_code in (200, 401, 503)


@pytest.mark.usefixtures("redirecting")
@pytest.mark.parametrize("path", OTHERS)
def test_other_pages_are_redirected_to_https(client: Client, path: str) -> None:
    response = client.get(path, headers={"Host": "localhost"})

    assert response.status_code == 301
    assert response["Location"] == f"https://localhost{path}"


@pytest.mark.usefixtures("redirecting")
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("path", ["/api/v1/predictions/", "/v2/models/m/infer", "/admin/login/"])
def test_other_methods_are_refused_over_http(client: Client, method: str, path: str) -> None:
    response = getattr(client, method)(path)

    assert response.status_code == 403
    assert "requires https" in response.content.decode()
    assert "Location" not in response


@pytest.mark.usefixtures("redirecting", "db")
def test_https_at_the_proxy_is_neither_redirected_nor_refused(client: Client) -> None:
    headers = {"X-Forwarded-Proto": "https"}

    assert client.get("/api/docs/", headers=headers).status_code == 200
    assert client.post("/api/v1/predictions/", headers=headers).status_code == 401


@pytest.mark.usefixtures("redirecting")
def test_redirects_and_probes_work_below_a_prefix(client: Client) -> None:
    mounted: dict[str, Any] = {"SCRIPT_NAME": "/ml", "HTTP_HOST": "localhost"}

    assert client.get("/health/live/", **mounted).status_code == 200
    assert client.get("/api/docs/", **mounted)["Location"] == "https://localhost/ml/api/docs/"


@pytest.mark.django_db
@pytest.mark.parametrize("path", PROBES)
def test_probes_and_scrapes_by_address_are_answered(
    client: Client, headers: dict[str, str], path: str
) -> None:
    assert POD.partition(":")[0] not in django_settings.ALLOWED_HOSTS

    response = client.get(path, headers={**headers, "Host": POD})

    # 404: there is no such model.
    assert response.status_code == (404 if "/models/" in path else 200)


@pytest.mark.parametrize("path", OTHERS)
@pytest.mark.parametrize("host", [POD, "evil.example.com", "a b"])
def test_other_routes_still_check_the_host(client: Client, path: str, host: str) -> None:
    assert client.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("path", PROBES)
def test_overload_refuses_all_but_probes_of_the_service(client: Client, path: str) -> None:
    reason = "working on as many requests as it can"

    response = client.get(path, **{REFUSAL: reason})  # type: ignore[arg-type]

    assert (reason.encode() in response.content) == path.startswith("/v2/models/")
