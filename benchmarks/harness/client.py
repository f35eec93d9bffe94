"""A small HTTP client over one kept connection: for checks, and where each answer counts."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Requests to one port of loopback. Not for several threads at once."""

    def __init__(
        self,
        port: int,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.port, self.headers, self.timeout = port, dict(headers or {}), timeout
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, value: Any) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json"})

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer; raises OSError where none came, after which the next call connects anew."""
        connection = self._connection or http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=self.timeout
        )
        self._connection = connection
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except http.client.HTTPException as error:
            self.close()
            raise ConnectionError(str(error)) from error
        except OSError:
            self.close()
            raise
        given: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            given[key] = f"{given[key]}, {value}" if key in given else value
        return Answer(response.status, given, content)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
