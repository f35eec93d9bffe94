"""A service that is started while its database is down answers health, and waits."""

import http.client
import json
from typing import Any

import pytest

from mlapi.server.tests.serving import STOP_SECONDS, get, get_json, serving, wait_until_alive
from registry.testing.processes import free_port, manage

pytestmark = pytest.mark.any_database


@pytest.mark.slow
def test_service_starts_and_refuses_requests_until_the_database_answers() -> None:
    port, health_port = free_port(), free_port()
    database_url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    options = ["--health-port", str(health_port)]
    with serving(database_url, port, *options, workers=1) as process:
        wait_until_alive(health_port)
        wait_until_alive(port)

        assert get(health_port, "/health/ready")[0] == 503
        assert get_json(port, "/health/ready")["database"] == "unavailable"
        status, retry_after, body = _predict(port)
        process.terminate()
        _, errors = process.communicate(timeout=STOP_SECONDS)

    assert (status, retry_after) == (503, "1")
    assert "has not answered since the service was started" in body["detail"]
    assert b"The database is unavailable" in errors


def test_a_file_that_cannot_be_a_database_stops_the_start() -> None:
    result = manage("serve", DATABASE_URL="sqlite:////missing/folder/db.sqlite3")

    assert result.returncode == 1
    assert "The database is unavailable" in result.stderr


def _predict(port: int) -> tuple[int, str | None, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STOP_SECONDS)
    try:
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"model": "iris", "input_data": {}})
        connection.request("POST", "/api/v1/predictions/", body, headers)
        response = connection.getresponse()
        return response.status, response.headers["Retry-After"], json.loads(response.read())
    finally:
        connection.close()
