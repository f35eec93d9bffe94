"""The service below a sub-path, through the WSGI application, whose paths a server has decoded."""

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.urls import set_script_prefix
from rest_framework_simplejwt.tokens import AccessToken

from mlapi import fast_lane, wsgi
from registry.models import ModelVersion
from registry.testing.clients import PASSWORD

# Whether the proxy removes the prefix from the path.
STRIPPED, KEPT = "stripped", "kept"
HEADER = {"HTTP_X_FORWARDED_PREFIX": "/ml"}


class Response:
    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = int(status.split()[0])
        self.headers = headers
        self.text = body.decode()

    def header(self, name: str) -> str:
        return next(value for key, value in self.headers if key == name)


def send(path: str, body: bytes = b"", method: str = "GET", /, **environ: str) -> Response:
    path, _, query = path.partition("?")
    started: list[tuple[str, list[tuple[str, str]]]] = []
    request: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "HTTP_HOST": "localhost",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        **environ,
    }
    chunks = wsgi.application(request, lambda status, headers: started.append((status, headers)))
    content = b"".join(chunks)
    if close := getattr(chunks, "close", None):
        close()
    return Response(*started[0], content)


@pytest.fixture(autouse=True)
def usual_thread() -> Iterator[None]:
    """Keep the test's connection, which holds its transaction, open between requests; and leave no
    prefix to the next test.
    """
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    set_script_prefix("/")
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(params=[STRIPPED, KEPT])
def root(request: pytest.FixtureRequest, settings: Any) -> str:
    """The service at /ml by URL_PREFIX; what the paths of requests begin with."""
    settings.URL_PREFIX = "/ml"
    return "" if request.param == STRIPPED else "/ml"


@pytest.fixture
def authorization(user: User) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {AccessToken.for_user(user)}"}


def test_links_of_pages_are_below_the_prefix(
    root: str, authorization: dict[str, str], db: None
) -> None:
    for version in ("1", "2"):
        ModelVersion.objects.create(name="m", version=version, framework="sklearn")

    response = send(f"{root}/api/v1/models/?limit=1", **authorization)

    assert response.header("Link").startswith("<http://localhost/ml/api/v1/models/?limit=1&cursor=")


def test_schema_and_documentation_are_below_the_prefix(root: str) -> None:
    schema = json.loads(send(f"{root}/api/schema/?format=json").text)
    docs, redoc = send(f"{root}/api/docs/").text, send(f"{root}/api/redoc/").text

    assert schema["servers"] == [{"url": "/ml"}]
    assert "/api/v1/predictions/" in schema["paths"]
    addresses = re.findall(r'(?:src|href|spec-url)="([^"]+)"', docs + redoc)
    assert len(addresses) > 5
    assert all(address.startswith("/ml/") for address in addresses)
    [script] = [address for address in addresses if address.endswith("?script=")]
    script_text = send(root + script.removeprefix("/ml")).text
    assert 'url: "/ml/api/schema"' in script_text


def test_redirects_are_below_the_prefix(root: str) -> None:
    targets = [send(f"{root}{path}").header("Location") for path in ("/", "/admin", "/admin/")]

    assert targets == ["/ml/api/docs", "/ml/admin/", "/ml/admin/login/?next=/ml/admin/"]


def test_the_prefix_itself_is_the_start_page(settings: Any) -> None:
    settings.URL_PREFIX = "/ml"

    assert send("/ml").header("Location") == "/ml/api/docs"


def test_login_and_cookies_are_below_the_prefix(root: str, db: None) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    page = send(f"{root}/admin/login/?next=/ml/admin/")
    [csrf] = [value for key, value in page.headers if key == "Set-Cookie"]
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    form = f"csrfmiddlewaretoken={token[1]}&username=root&password={PASSWORD}&next=/ml/admin/"

    response = send(
        f"{root}/admin/login/",
        form.encode(),
        "POST",
        CONTENT_TYPE="application/x-www-form-urlencoded",
        HTTP_COOKIE=csrf.strip().split(";")[0],
    )

    assert response.status == 302
    assert response.header("Location") == "/ml/admin/"
    cookies = [csrf, *(value for key, value in response.headers if key == "Set-Cookie")]
    assert len(cookies) == 3
    assert all("Path=/ml;" in f"{cookie};" for cookie in cookies)


def test_static_files_are_below_the_prefix(root: str) -> None:
    page = send(f"{root}/admin/login/").text

    assert 'href="/ml/static/admin/css/base.css"' in page
    assert send(f"{root}/static/admin/css/base.css").status == 200


def test_the_fast_lane_takes_requests_below_the_prefix(
    root: str, authorization: dict[str, str], iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi, "django_application", None)
    body = {"model_id": iris.pk, "input_data": {"features": [5.1, 3.5, 1.4, 0.2]}}
    headers = {**authorization, "HTTP_X_REQUEST_ID": "fixed"}

    response = send(f"{root}/api/v1/predictions/", json.dumps(body).encode(), "POST", **headers)

    assert response.status == 201


def test_both_lanes_log_the_path_with_the_prefix(
    root: str, authorization: dict[str, str], caplog: pytest.LogCaptureFixture, db: None
) -> None:
    with caplog.at_level("INFO", "mlapi.access"):
        body = b'{"model_id": 987654, "input_data": {}}'
        send(f"{root}/api/v1/predictions/", body, "POST", **authorization)
        send(f"{root}/api/v1/predictions/", **authorization)

    paths = [vars(record)["path"] for record in caplog.records if record.name == "mlapi.access"]
    assert paths == ["/ml/api/v1/predictions/"] * 2


def test_a_prefix_like_an_own_path_is_not_removed_from_the_path(settings: Any) -> None:
    settings.URL_PREFIX = "/api"

    response = send("/api/docs/")

    assert response.status == 200
    assert 'href="/api/static/' in response.text


@pytest.mark.parametrize("prefix", ["/ml", "/ml/", "/teams/risk-1"])
def test_the_header_of_a_proxy_names_the_prefix(settings: Any, prefix: str) -> None:
    settings.FORWARDED_PREFIX_META = "HTTP_X_FORWARDED_PREFIX"
    expected = prefix.rstrip("/")

    responses = [
        send("/admin", HTTP_X_FORWARDED_PREFIX=prefix),
        send(f"{expected}/admin", HTTP_X_FORWARDED_PREFIX=prefix),
        send("/admin"),
    ]

    targets = [response.header("Location") for response in responses]
    assert targets == [f"{expected}/admin/", f"{expected}/admin/", "/admin/"]


def test_the_header_is_ignored_without_the_setting() -> None:
    assert send("/admin", **HEADER).header("Location") == "/admin/"


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example.com",
        "/ml//evil",
        "https://evil.example.com",
        "ml",
        "/../x",
        "/ml?x",
        "/ml\\x",
        "/m l",
        "/<b>",
        "/" + "x" * 200,
        "/a, /b",
        "/",
        "",
    ],
)
def test_a_header_that_is_no_path_is_ignored(settings: Any, prefix: str) -> None:
    settings.FORWARDED_PREFIX_META = "HTTP_X_FORWARDED_PREFIX"

    assert send("/admin", HTTP_X_FORWARDED_PREFIX=prefix).header("Location") == "/admin/"


def test_script_name_of_the_server_is_respected() -> None:
    assert send("/admin", SCRIPT_NAME="/mounted").header("Location") == "/mounted/admin/"


def test_without_a_prefix_cookies_belong_to_the_host() -> None:
    [cookie] = [value for key, value in send("/admin/login/").headers if key == "Set-Cookie"]

    assert "Path=/;" in f"{cookie};"


def test_the_fast_lane_is_unchanged_without_a_prefix() -> None:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/ml/api/v1/predictions/"}

    assert fast_lane.respond(environ) is None
