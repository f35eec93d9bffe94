"""What every request gets: an id, a line in the access log, a place in the metrics."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from mlapi.metrics import observe_request
from mlapi.problems import Problem

access_logger = logging.getLogger("mlapi.access")

# Short and plain enough for a log line, a database column and a header.
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestIDMiddleware:
    """Sets `request.request_id`, from a well-formed X-Request-ID or new, and returns it.

    Until the answer, every log line of this thread carries it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if WELL_FORMED_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        # Threads are reused: what an earlier request bound must not appear in this one's lines.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id
            return response
        finally:
            structlog.contextvars.clear_contextvars()


class AccessLogMiddleware:
    """One line a request, and its metrics."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - started
        observe_request(request, response.status_code, seconds)
        access_logger.info(
            "%s %s %d",
            request.method,
            request.path,
            response.status_code,
            extra={
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "duration_ms": round(seconds * 1000, 2),
                "user": _user_id(request),
            },
        )
        return response


class LengthRequiredMiddleware:
    """Answers 411 to a chunked body: WSGI would hand it to the views as an empty one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            detail = "A request body needs a Content-Length; chunked bodies are not accepted."
            return Problem(HTTPStatus.LENGTH_REQUIRED, detail).response(request)
        return self.get_response(request)


def _user_id(request: HttpRequest) -> Any:
    """The id of the user this request was found to come from.

    Django's lazy user is left alone where no view asked for it: it would read the session.
    """
    user = getattr(request, "_cached_user", None) or getattr(request, "user", None)
    return None if isinstance(user, SimpleLazyObject) else getattr(user, "pk", None)
