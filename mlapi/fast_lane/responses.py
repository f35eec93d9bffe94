"""The responses of the fast lane, with the headers that the middleware would add."""

import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.utils.cache import patch_vary_headers

from mlapi.fast_lane.handlers import Body, Environ
from mlapi.fast_lane.requests import bare_request, is_secure
from mlapi.metrics import observe_request
from mlapi.middleware import log_access
from mlapi.pages import content_security
from mlapi.problems import exception_handler
from mlapi.proxies.probes import HttpsMiddleware
from predictions import authentication
from predictions.serving.questions import Caller


class Response(NamedTuple):
    status: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def finish(environ: Environ, label: str, started: float, body: Body, caller: Caller) -> Response:
    """Log and count a request, as the middleware does, and complete its response."""
    status, content, headers = body
    method, seconds = environ["REQUEST_METHOD"], time.perf_counter() - started
    observe_request(label, method, status, seconds)
    path = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
    log_access(method, path, status, seconds, caller.user_id)
    return Response(
        f"{status.value} {status.phrase}",
        [
            *headers.items(),
            ("Content-Length", str(len(content))),
            ("X-Request-ID", caller.request_id),
            *_common_headers(is_secure(environ)),
        ],
        content,
    )


def problem_of(environ: Environ, error: Exception, caller: Caller) -> Body:
    request = WSGIRequest(environ)
    request.request_id = caller.request_id  # type: ignore[attr-defined]
    response: HttpResponse = exception_handler(
        authentication.error_for(caller, error), {"request": request}
    )
    return HTTPStatus(response.status_code), response.content, dict(response.headers)


@lru_cache
def _common_headers(secure: bool) -> list[tuple[str, str]]:
    """The headers that the middleware would add, taken from that middleware."""
    environ = {"wsgi.url_scheme": "https" if secure else "http"}
    if secure and settings.SECURE_PROXY_SSL_HEADER:
        name, secure_value = settings.SECURE_PROXY_SSL_HEADER
        environ[name] = secure_value
    request = bare_request(**environ)
    response = HttpResponse()
    del response.headers["Content-Type"]
    HttpsMiddleware(lambda _: response).process_response(request, response)
    XFrameOptionsMiddleware(lambda _: response).process_response(request, response)
    patch_vary_headers(response, ["origin"])
    response.headers[content_security.HEADER] = content_security.API_POLICY
    return list(response.headers.items())
