"""Gives every request an id, a line in the access log and a count in the metrics; every answer a
length.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject

from mlapi.configuration import logs
from mlapi.metrics import observe_request, route_of
from mlapi.pages.errors import ADMIN_PATH

access_logger = logging.getLogger("mlapi.access")

# Short and plain enough for a log line, a database column and a header.
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ContentLengthMiddleware:
    """Sets the Content-Length of every answer; Django does it only for those that come from a view.

    Without a length, an answer ends after the rest of the request's body has been discarded: a
    proxy that waits for the answer before it sends more would wait for its timeout.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if isinstance(response, HttpResponse) and "Content-Length" not in response.headers:
            response.headers["Content-Length"] = str(len(response.content))
        return response


class RequestIDMiddleware:
    """Sets `request.request_id` and the X-Request-ID response header.

    All lines that this thread logs until the response is sent carry the id.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request_id_of(request.META)
        request.request_id = request_id  # type: ignore[attr-defined]
        token = logs.request_id.set(request_id)
        try:
            response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id
            if isinstance(response, StreamingHttpResponse) and not response.is_async:
                response.streaming_content = _with_request_id(request_id, iter(response))
            return response
        finally:
            # Threads are reused: the next request's lines must not carry this id.
            logs.request_id.reset(token)


def request_id_of(environ: Mapping[str, object]) -> str:
    """The X-Request-ID of a WSGI environment if it is well-formed, else a new id.

    Its first 12 digits are the time in milliseconds, as in a UUID of version 7: the index of the
    log by request grows at its end, instead of writing to a page anywhere in it for each row.
    """
    client_id = environ.get("HTTP_X_REQUEST_ID")
    if isinstance(client_id, str) and WELL_FORMED_ID.fullmatch(client_id):
        return client_id
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def _with_request_id(request_id: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a streamed response; lines logged while they are produced carry the id."""
    iterator = iter(chunks)
    while True:
        token = logs.request_id.set(request_id)
        try:
            chunk = next(iterator)
        except StopIteration:
            return
        finally:
            logs.request_id.reset(token)
        yield chunk


class AccessLogMiddleware:
    """Logs one line for each request, and counts it in the metrics."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _call_after(
                iter(response), lambda: _log_and_count(request, response, started)
            )
        else:
            _log_and_count(request, response, started)
        return response


def _call_after(chunks: Iterable[bytes], finish: Callable[[], None]) -> Iterator[bytes]:
    try:
        yield from chunks
    finally:
        finish()


def _log_and_count(request: HttpRequest, response: HttpResponseBase, started: float) -> None:
    seconds = time.perf_counter() - started
    method = request.method or ""
    observe_request(route_of(request), method, response.status_code, seconds)
    log_access(method, request.path, response.status_code, seconds, _user_id(request))


def log_access(method: str, path: str, status: int, seconds: float, user_id: object) -> None:
    """Log a request at INFO under `mlapi.access`."""
    if not access_logger.isEnabledFor(logging.INFO):
        return
    # Escaped: a line break in a path must not begin a new line of the log.
    path = escape_uri_path(path)
    access_logger.info(
        "%s %s %d",
        method,
        path,
        status,
        extra={
            "method": method,
            "path": path,
            # HTTPStatus would be shown by its name.
            "status": int(status),
            "duration_ms": round(seconds * 1000, 2),
            "user": user_id,
        },
    )


def _user_id(request: HttpRequest) -> object:
    """The id of the authenticated user, or None.

    Evaluating Django's lazy user would read the session, so it is left alone unless a view has
    evaluated it.
    """
    user = getattr(request, "_cached_user", None) or getattr(request, "user", None)
    return None if isinstance(user, SimpleLazyObject) else getattr(user, "pk", None)


class _AdminOnly:
    """Limits one of Django's middlewares to the admin: the API neither reads nor sets cookies."""

    def __call__(self: Any, request: HttpRequest) -> Any:
        if request.path_info.startswith(ADMIN_PATH):
            return super().__call__(request)  # type: ignore[misc]
        return self.get_response(request)


class AdminSessionMiddleware(_AdminOnly, SessionMiddleware):
    pass


class AdminAuthenticationMiddleware(_AdminOnly, AuthenticationMiddleware):
    pass


class AdminMessageMiddleware(_AdminOnly, MessageMiddleware):
    pass
