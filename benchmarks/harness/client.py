"""A small HTTP client over one kept-alive connection, for checks."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class CutOff(ConnectionError):
    """The connection ended in the middle of a response; `body` is what arrived of it."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"A response with status {status} ended after {len(body)} bytes")
        self.status, self.body = status, body


class Client:
    """Sends requests to one port on loopback. Not thread-safe."""

    def __init__(
        self,
        port: int,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.port, self.headers, self.timeout = port, dict(headers or {}), timeout
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, value: object) -> Response:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json"})

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The response; raises OSError if none arrives, and then the next call reconnects.

        CutOff, an OSError, is raised if a part of it arrives.
        """
        connection = self._connection or http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=self.timeout
        )
        self._connection = connection
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except http.client.IncompleteRead as error:
            self.close()
            raise CutOff(response.status, error.partial) from error
        except http.client.HTTPException as error:
            self.close()
            raise ConnectionError(str(error)) from error
        except OSError:
            self.close()
            raise
        joined: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        return Response(response.status, joined, content)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
