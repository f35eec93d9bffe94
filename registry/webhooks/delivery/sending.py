"""Sends one message to one server, and says how it responded."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import urllib3
from django.conf import settings
from django.utils import timezone
from urllib3.exceptions import HTTPError, NewConnectionError

from registry.http_client.addresses import require_public, require_unicast
from registry.http_client.timed_connections import deadline_at, timed_pool
from registry.webhooks.urls import Target

# Read of the response, for the message of a failure. The rest is never read.
MAX_BODY_BYTES = 1024
MAX_SHOWN_CHARACTERS = 200
MAX_RETRY_AFTER_SECONDS = 86_400
USER_AGENT = "mlapi-webhooks/1"


@dataclass(frozen=True, slots=True)
class Response:
    """What came of a message: the status, or None without a response; `error` explains a failure.

    `retry_after_seconds` is what the server asks for, 0 if it does not.
    """

    status: int | None
    error: str = ""
    retry_after_seconds: float = 0.0

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == HTTPStatus.GONE


def post(target: Target, body: bytes, headers: Mapping[str, str]) -> Response:
    """POST the body within WEBHOOK_TIMEOUT_SECONDS; follows no redirect and uses no proxy."""
    deadline = time.monotonic() + settings.WEBHOOK_TIMEOUT_SECONDS
    require = require_unicast if settings.WEBHOOK_PRIVATE_ADDRESSES else require_public
    # A connection for each message: they are few, and none is found closed by the server.
    pool = timed_pool(target.origin, max_connections=1)
    try:
        with deadline_at(deadline, require_address=require):
            return _post(pool, target.path, body, headers)
    except HTTPError as error:
        return Response(None, _reason(error))
    finally:
        pool.close()


def _post(
    pool: urllib3.HTTPConnectionPool, path: str, body: bytes, headers: Mapping[str, str]
) -> Response:
    response = pool.urlopen(
        "POST",
        path,
        body=body,
        headers={
            **headers,
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            "Connection": "close",
        },
        retries=False,
        redirect=False,
        # The connections end each operation at the deadline.
        timeout=None,
        preload_content=False,
        decode_content=False,
    )
    try:
        if 200 <= response.status < 300:
            # The status is the answer. A body that is slow or endless does not matter.
            return Response(response.status)
        return Response(
            response.status,
            _describe(response.status, _beginning(response)),
            _retry_after_seconds(response.headers.get("Retry-After", "")),
        )
    finally:
        response.close()


def _beginning(response: urllib3.BaseHTTPResponse) -> str:
    try:
        content = response.read1(MAX_BODY_BYTES)
    except HTTPError:
        return ""
    text = content[:MAX_BODY_BYTES].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_SHOWN_CHARACTERS].strip()


def _describe(status: int, text: str) -> str:
    if 300 <= status < 400:
        return f"The server responded with a redirect (status {status}), which is never followed"
    return f"The server responded with status {status}" + (f": {text}" if text else "")


def _retry_after_seconds(value: str) -> float:
    """Of a Retry-After header: seconds, or a date. 0 if it cannot be read."""
    if value.isascii() and value.isdecimal() and len(value) < 10:
        seconds = float(value)
    else:
        try:
            at = parsedate_to_datetime(value)
            seconds = (at - timezone.now()).total_seconds()
        except (TypeError, ValueError):
            return 0.0
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)


def _reason(error: HTTPError) -> str:
    # Before TimeoutError, its base class in urllib3.
    if isinstance(error, NewConnectionError):
        return f"There was no connection: {error}"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "The server did not respond in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"The server's certificate or encryption was not accepted: {error}"
    return f"The connection broke: {error}"
