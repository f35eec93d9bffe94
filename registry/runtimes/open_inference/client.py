"""One remote server over HTTP: kept connections, deadlines, bounded answers. No Django here."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError

from registry.runtimes.base import (
    InferenceError,
    LoadError,
    RemoteOptions,
    RuntimeUnavailable,
)
from registry.runtimes.open_inference.document import Origin, RemoteModel

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
CONNECT_SECONDS = 2.0
# How long to wait for another thread's connection, and before the one retry.
POOL_SECONDS = 1
PAUSE_SECONDS = 0.05
MAX_ANSWER_BYTES = 64 * 2**20
CHUNK_BYTES = 2**16
# What callers are told where the server itself says nothing of it.
RETRY_SECONDS = 1
MAX_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, whatever its status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int:
        told = self.headers.get("retry-after", "")
        seconds = int(told) if told.isascii() and told.isdecimal() and len(told) < 10 else 1
        return min(max(RETRY_SECONDS, seconds), MAX_RETRY_SECONDS)


class RemoteClient:
    """A bounded pool of connections to one origin, and to no other: redirects are not followed,
    and no proxy of the environment is asked. Shared between threads.
    """

    def __init__(self, remote: RemoteModel, options: RemoteOptions) -> None:
        """Raises LoadError where the origin is not allowed, or a header's variable is not set."""
        remote.require_allowed(options)
        self._remote, self._options = remote, options
        self._headers = remote.header_values(options)
        self._pool = _pool(remote.origin)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask once, and a second time only where no connection came about at all.

        Raises RuntimeUnavailable where there is no answer in time, InferenceError for one that is
        too large or compressed.
        """
        try:
            self._remote.require_allowed(self._options)
        except LoadError as error:
            raise RuntimeUnavailable(str(error), retry_after=MAX_RETRY_SECONDS) from error
        try:
            try:
                return self._ask(method, path, body, headers or {})
            except NewConnectionError:
                time.sleep(PAUSE_SECONDS)
                return self._ask(method, path, body, headers or {})
        except HTTPError as error:
            # The caller need not know where the model is; the operator must.
            logger.warning("%s of %s failed: %s", method, self._remote.origin, error)
            raise RuntimeUnavailable(
                f"The server of the model did not answer ({_reason(error)})",
                retry_after=RETRY_SECONDS,
            ) from error

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        deadline = time.monotonic() + self._remote.timeout_seconds
        response = self._pool.urlopen(
            method,
            self._remote.base_path + path,
            body=body,
            headers={**self._headers, **headers, "Accept-Encoding": "identity"},
            # urllib3 itself replaces a kept connection that the server has closed meanwhile.
            retries=False,
            redirect=False,
            timeout=urllib3.Timeout(
                connect=min(CONNECT_SECONDS, self._remote.timeout_seconds),
                read=self._remote.timeout_seconds,
            ),
            pool_timeout=POOL_SECONDS,
            preload_content=False,
            decode_content=False,
        )
        is_complete = False
        try:
            content = _read(response, deadline)
            is_complete = True
        finally:
            # What was not read to its end must not be taken for the next answer.
            if not is_complete:
                response.close()
            response.release_conn()
        told = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, told, content)


def _pool(origin: Origin) -> urllib3.HTTPConnectionPool:
    if origin.scheme == "http":
        return urllib3.HTTPConnectionPool(
            origin.host, origin.port, maxsize=MAX_CONNECTIONS, block=True
        )
    return urllib3.HTTPSConnectionPool(
        origin.host,
        origin.port,
        maxsize=MAX_CONNECTIONS,
        block=True,
        # The default, written down: what is told here may be a secret.
        cert_reqs="CERT_REQUIRED",
    )


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise InferenceError("The server of the model compressed its answer, unasked")
    parts, size = [], 0
    # By what has come, not by a full chunk: a server that drips must not outlast the deadline.
    while part := response.read1(CHUNK_BYTES):
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise InferenceError(
                f"The server of the model answered with more than {MAX_ANSWER_BYTES} bytes"
            )
        if time.monotonic() > deadline:
            raise RuntimeUnavailable(
                "The server of the model did not answer (timeout)", retry_after=RETRY_SECONDS
            )
        parts.append(part)
    return b"".join(parts)


def _reason(error: HTTPError) -> str:
    # First the narrower: urllib3 counts it among the timeouts, and a timeout does not tell whether
    # the server was reached.
    if isinstance(error, NewConnectionError):
        return "no connection"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "timeout"
    if isinstance(error, urllib3.exceptions.EmptyPoolError):
        return "all connections are busy"
    return "the connection broke"
