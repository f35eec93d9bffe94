"""What every request gets: an id, a line in the access log, a place in the metrics."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import corsheaders.middleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import ResolverMatch, resolve
from django.utils.cache import patch_vary_headers
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject

from mlapi.configuration import logs
from mlapi.metrics import observe_request
from mlapi.problems import Problem

access_logger = logging.getLogger("mlapi.access")

# Short and plain enough for a log line, a database column and a header.
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

ADMIN_PATH = "/admin"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestIDMiddleware:
    """Sets `request.request_id`, from a well-formed X-Request-ID or new, and returns it.

    Until the answer, every log line of this thread carries it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Not request.headers, which would read all of them.
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if WELL_FORMED_ID.fullmatch(given) else secrets.token_hex(16)
        request.request_id = request_id  # type: ignore[attr-defined]
        token = logs.request_id.set(request_id)
        try:
            response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id
            if isinstance(response, StreamingHttpResponse) and not response.is_async:
                response.streaming_content = _under(request_id, iter(response))
            return response
        finally:
            # Threads are reused: the next request's lines must not carry this id.
            logs.request_id.reset(token)


def _under(request_id: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a streamed answer, with the id on the lines that are logged meanwhile."""
    iterator = iter(pieces)
    while True:
        token = logs.request_id.set(request_id)
        try:
            piece = next(iterator)
        except StopIteration:
            return
        finally:
            logs.request_id.reset(token)
        yield piece


class AccessLogMiddleware:
    """One line a request, and its metrics."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _then(
                iter(response), lambda: _account(request, response, started)
            )
        else:
            _account(request, response, started)
        return response


def _then(pieces: Iterable[bytes], finish: Callable[[], None]) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        finish()


def _account(request: HttpRequest, response: HttpResponseBase, started: float) -> None:
    seconds = time.perf_counter() - started
    observe_request(request, response.status_code, seconds)
    if access_logger.isEnabledFor(logging.INFO):
        _log(request, response.status_code, seconds)


def _log(request: HttpRequest, status: int, seconds: float) -> None:
    # Escaped: a line break in an address must not begin a line of the log.
    path = escape_uri_path(request.path)
    access_logger.info(
        "%s %s %d",
        request.method,
        path,
        status,
        extra={
            "method": request.method,
            "path": path,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "user": _user_id(request),
        },
    )


class LengthRequiredMiddleware:
    """Answers 411 to a chunked body: WSGI would hand it to the views as an empty one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            detail = "A request body needs a Content-Length; chunked bodies are not accepted."
            return Problem(HTTPStatus.LENGTH_REQUIRED, detail).response(request)
        return self.get_response(request)


class CorsMiddleware(corsheaders.middleware.CorsMiddleware):
    """As the library's, which looks at each request in vain where no browser names its origin."""

    def __call__(self, request: HttpRequest) -> Any:
        if "HTTP_ORIGIN" in request.META:
            return super().__call__(request)
        response = cast(HttpResponseBase, self.get_response(request))
        patch_vary_headers(response, ["origin"])
        return response


class ShortWayMiddleware:
    """Hands the POSTs of SHORT_WAYS straight to their views.

    Looking for the route, and what stands behind in MIDDLEWARE, which is for pages, took longer
    than a small model's answer.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method != "POST" or not settings.SHORT_WAYS.fullmatch(request.path_info):
            return self.get_response(request)
        # Raises for a host that is not allowed, as the middlewares behind do.
        request.get_host()
        request.resolver_match = match = _route(request.path_info)
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response


# As many as there are models that are asked often: callers write these paths.
@lru_cache(1024)
def _route(path: str) -> ResolverMatch:
    return resolve(path)


class AdminOnly:
    """Mixed into one of Django's middlewares, leaves it to the admin: the API has no sessions, and
    would pay for them with every request.
    """

    def __call__(self: Any, request: HttpRequest) -> Any:
        if request.path_info.startswith(ADMIN_PATH):
            return super().__call__(request)  # type: ignore[misc]
        return self.get_response(request)


class AdminSessionMiddleware(AdminOnly, SessionMiddleware):
    pass


class AdminAuthenticationMiddleware(AdminOnly, AuthenticationMiddleware):
    pass


class AdminMessageMiddleware(AdminOnly, MessageMiddleware):
    pass


def _user_id(request: HttpRequest) -> Any:
    """The id of the user this request was found to come from.

    Django's lazy user is left alone where no view asked for it: it would read the session.
    """
    user = getattr(request, "_cached_user", None) or getattr(request, "user", None)
    return None if isinstance(user, SimpleLazyObject) else getattr(user, "pk", None)
