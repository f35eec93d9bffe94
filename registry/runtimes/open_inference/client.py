"""HTTP to one remote server: kept connections, one deadline, bounded responses. No Django here."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError

from registry.http_client.timed_connections import deadline_at, timed_pool
from registry.runtimes.base import (
    DeadlineExceeded,
    InferenceError,
    LoadError,
    RemoteOptions,
    RuntimeUnavailable,
)
from registry.runtimes.open_inference.document import RemoteModel

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
# How long a thread waits for a free connection of the pool.
POOL_SECONDS = 1
# Before the one retry.
PAUSE_SECONDS = 0.05
MAX_RESPONSE_BYTES = 64 * 2**20
CHUNK_BYTES = 2**16
# Used when the server sends no Retry-After.
RETRY_SECONDS = 1
MAX_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response of any status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int:
        """Seconds, from RETRY_SECONDS to MAX_RETRY_SECONDS."""
        value = self.headers.get("retry-after", "")
        seconds = int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else 1
        return min(max(RETRY_SECONDS, seconds), MAX_RETRY_SECONDS)


class RemoteClient:
    """A bounded pool of connections to one origin. It follows no redirects and uses no proxy of
    the environment, so that nothing is sent elsewhere. Shared between threads.
    """

    def __init__(self, remote: RemoteModel, options: RemoteOptions) -> None:
        """Raises LoadError if the origin is not allowed or a header's variable is not set."""
        remote.require_allowed(options)
        self._remote, self._options = remote, options
        self._headers = remote.header_values(options)
        self._pool = timed_pool(remote.origin, max_connections=MAX_CONNECTIONS)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        give_up_at: float | None = None,
    ) -> Response:
        """Send a request, again once if no connection could be opened: nothing was sent then.

        Raises RuntimeUnavailable if there is no response within the document's `timeout_seconds`,
        or DeadlineExceeded if it ends at the monotonic time `give_up_at` before that. Both count
        for everything from the look-up of the name to the last byte. Raises InferenceError for a
        response that is too large or compressed.
        """
        try:
            self._remote.require_allowed(self._options)
        except LoadError as error:
            raise RuntimeUnavailable(str(error), retry_after=MAX_RETRY_SECONDS) from error
        deadline = time.monotonic() + self._remote.timeout_seconds
        if is_cut_short := give_up_at is not None and give_up_at < deadline:
            deadline = give_up_at
        try:
            with deadline_at(deadline):
                try:
                    return self._send(method, path, body, headers or {}, deadline)
                except NewConnectionError:
                    time.sleep(PAUSE_SECONDS)
                    return self._send(method, path, body, headers or {}, deadline)
        except HTTPError as error:
            if is_cut_short and time.monotonic() >= deadline:
                raise DeadlineExceeded("The model's server did not respond in time") from error
            # Logged, since the address is for the operator and not for the caller.
            logger.warning("%s of %s failed: %s", method, self._remote.origin, error)
            raise RuntimeUnavailable(
                f"The model's server did not respond ({_reason(error)})",
                retry_after=RETRY_SECONDS,
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Response:
        response = self._pool.urlopen(
            method,
            self._remote.base_path + path,
            body=body,
            headers={**self._headers, **headers, "Accept-Encoding": "identity"},
            # Even so, urllib3 replaces a kept connection that the server has closed.
            retries=False,
            redirect=False,
            # The connections end each operation at the deadline.
            timeout=None,
            # The annotation is too narrow: it is the timeout of a queue.
            pool_timeout=max(0.0, min(POOL_SECONDS, deadline - time.monotonic())),  # type: ignore[arg-type]
            preload_content=False,
            decode_content=False,
        )
        is_complete = False
        try:
            content = _read(response)
            is_complete = True
        finally:
            # The rest of this response must not be read as the start of the next one.
            if not is_complete:
                response.close()
            response.release_conn()
        lower_headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status, lower_headers, content)


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise InferenceError("The model's server sent a compressed response, which is not accepted")
    parts: list[bytes] = []
    size = 0
    # read1 returns what has arrived; read would wait for a full chunk.
    while part := response.read1(CHUNK_BYTES):
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise InferenceError(
                f"The model's server sent more than the limit of {MAX_RESPONSE_BYTES} bytes"
            )
        parts.append(part)
    return b"".join(parts)


def _reason(error: HTTPError) -> str:
    # Before TimeoutError, its base class in urllib3.
    if isinstance(error, NewConnectionError):
        return "no connection"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "timeout"
    if isinstance(error, urllib3.exceptions.EmptyPoolError):
        return "all connections are busy"
    return "the connection broke"
