import io
import json
import logging
import logging.config
import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from mlapi.configuration.logs import logging_config
from mlapi.middleware import log_access

LIVE = "/health/live/"


@pytest.fixture
def access_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "mlapi.access"):
        yield caplog


def test_well_formed_request_id_is_kept(client: APIClient) -> None:
    response = client.get(LIVE, HTTP_X_REQUEST_ID="trace-1.2_3")

    assert response["X-Request-ID"] == "trace-1.2_3"


@pytest.mark.parametrize("given", ["", "a b", "x" * 101, "ü", "a\nb", '"'])
def test_other_request_ids_are_replaced(client: APIClient, given: str) -> None:
    response = client.get(LIVE, HTTP_X_REQUEST_ID=given)

    assert re.fullmatch(r"[0-9a-f]{32}", response["X-Request-ID"])


def test_errors_carry_the_request_id(client: APIClient) -> None:
    response = client.get("/nowhere", HTTP_X_REQUEST_ID="abc")

    assert response["X-Request-ID"] == response.json()["request_id"] == "abc"


def test_each_request_has_one_access_line(
    authorized: APIClient, user: User, access_log: pytest.LogCaptureFixture
) -> None:
    authorized.get("/api/v1/models/")

    lines = [record for record in access_log.records if record.name == "mlapi.access"]
    assert len(lines) == 1
    shown = {key: vars(lines[0])[key] for key in ("method", "path", "status", "user")}
    assert shown == {"method": "GET", "path": "/api/v1/models/", "status": 200, "user": user.pk}
    assert vars(lines[0])["duration_ms"] > 0


def test_a_status_is_logged_as_a_number(access_log: pytest.LogCaptureFixture) -> None:
    log_access("GET", "/", HTTPStatus.OK, 0.1, None)

    assert repr(vars(access_log.records[-1])["status"]) == "200"


def test_access_line_of_a_health_check_reads_no_session(
    client: APIClient, access_log: pytest.LogCaptureFixture
) -> None:
    # Without access to a database: a look at the lazy user would fail here.
    client.cookies["sessionid"] = "a" * 32

    assert client.get(LIVE).status_code == 200
    assert vars(access_log.records[-1])["user"] is None


def test_chunked_body_answers_411(client: APIClient) -> None:
    response = client.generic("POST", "/api/v1/auth/token/", HTTP_TRANSFER_ENCODING="chunked")

    assert response.status_code == 411


def test_cors_headers_are_on_errors_too(client: APIClient) -> None:
    response = client.get("/nowhere", HTTP_ORIGIN="http://localhost:3000")

    assert response["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert response["Access-Control-Allow-Credentials"] == "true"
    assert {"Link", "X-Request-ID"} <= set(
        response["Access-Control-Expose-Headers"].replace(" ", "").split(",")
    )


def test_other_origins_get_no_cors_headers(client: APIClient) -> None:
    response = client.get(LIVE, HTTP_ORIGIN="https://evil.example.com")

    assert "Access-Control-Allow-Origin" not in response


@pytest.fixture
def json_lines() -> Iterator[io.StringIO]:
    """What the JSON configuration writes, through a handler of its own."""
    config = logging_config("INFO", "json")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    formatter = config["formatters"]["structured"].copy()
    handler.setFormatter(formatter.pop("()")(**formatter))
    loggers = [logging.getLogger(name) for name in ("mlapi", "some.library")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def test_library_lines_carry_the_request_id(
    client: APIClient, json_lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def speak() -> list[str]:
        logging.getLogger("some.library").warning("busy %d", 3, extra={"queue": "q1"})
        return []

    monkeypatch.setattr("mlapi.health.views.loader.loaded_specifiers", speak)
    monkeypatch.setattr("mlapi.health.monitor.state", lambda: {"database": "unavailable"})

    client.get("/health/", HTTP_X_REQUEST_ID="abc")

    first, access = [json.loads(line) for line in json_lines.getvalue().splitlines()]
    assert [first["event"], first["queue"], first["request_id"]] == ["busy 3", "q1", "abc"]
    assert [access["logger"], access["status"]] == ["mlapi.access", 503]


def test_request_id_does_not_outlive_its_request(
    client: APIClient, json_lines: io.StringIO
) -> None:
    client.get(LIVE)
    logging.getLogger("some.library").info("idle")

    assert "request_id" not in json.loads(json_lines.getvalue().splitlines()[-1])


def test_json_line_of_an_exception_holds_its_traceback(json_lines: io.StringIO) -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("some.library").exception("failed")

    assert "RuntimeError: boom" in json.loads(json_lines.getvalue())["exception"]


def test_a_path_cannot_forge_a_log_line(
    client: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="mlapi.access"):
        client.get("/x%0Aforged")

    assert "\n" not in caplog.messages[-1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Content-Encoding": "br"},
        {"Transfer-Encoding": "chunked", "Content-Type": "text/csv"},
    ],
)
def test_answers_of_middleware_have_a_length(client: APIClient, headers: dict[str, str]) -> None:
    response = client.generic("POST", "/api/v1/outcomes/", b"x", headers=headers)

    assert response.status_code >= 400
    assert response["Content-Length"] == str(len(response.content))
