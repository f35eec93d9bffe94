"""The fast lane: answers plain requests for predictions before they reach Django.

Django's handler, its middleware and DRF's dispatch take longer than a small model. A WSGI server
calls `respond` first; if it returns None, Django answers the same request.

**Which requests take it.** A POST to a route in ROUTES with a valid bearer token, a Content-Length
within MAX_REQUEST_BYTES, an allowed host and a plain body: for /predictions/, JSON with a target
and an input, optionally a subject and a reference; for /v2, any request of the protocol.

**What it skips, and why that is safe.** URL resolution is cached. The middleware is for pages, for
browsers (a request with an Origin or a Cookie goes to Django) and for the response headers, which
are written here. DRF's parsers, permissions and serializers would accept every request that is
taken. Access log, metrics and request id are the middleware's own functions.

**When it hands over.** Whenever anything is unusual, before anything is recorded: Django then
reports what is wrong. An exception of the prediction itself becomes the same problem document as
in DRF.

`mlapi/tests/fast_lane` sends hundreds of requests both ways and requires equal responses and rows.
A new permission, throttle, middleware or field must be added here too, or handed over.
"""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

import orjson
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import patch_vary_headers

from mlapi.configuration import logs
from mlapi.health import views
from mlapi.metrics import observe_request, readable_route
from mlapi.middleware import log_access, request_id_of
from mlapi.pages import content_security
from mlapi.problems import exception_handler
from mlapi.proxies.probes import HttpsMiddleware
from predictions import authentication
from predictions.open_inference.infer import KEY_PARAMETER, infer
from predictions.open_inference.views import specifier_of
from predictions.serializers import PredictionSerializer
from predictions.serving import services
from predictions.serving.limits.deadlines import arrival, read_timeout
from predictions.serving.questions import Caller, Question, password_claim
from registry.exact_json.values import parse_json_body
from registry.loading.loader import release_connection
from registry.open_inference.messages import read_request

Environ: TypeAlias = dict[str, Any]
Body: TypeAlias = tuple[HTTPStatus, bytes, Mapping[str, str]]

PREDICTION = PredictionSerializer()
JSON_HEADERS = {"Content-Type": "application/json"}
# Each of these needs Django: browsers, a key that may repeat an earlier answer, an encoded body.
UNUSUAL_HEADERS = (
    "HTTP_ORIGIN",
    "HTTP_COOKIE",
    "HTTP_IDEMPOTENCY_KEY",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_CONTENT_ENCODING",
)
PLAIN_TEXTS = frozenset({"model", "subject", "reference"})
# Such a text needs no trimming, and no serializer would reject it.
PLAIN_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@:._+-")
MAX_PLAIN_LENGTH = 150


class Route(NamedTuple):
    """A route of the fast lane: its handler, the path's parameters, and its name in the metrics."""

    handler: "Callable[[Environ, bytes, Caller, Mapping[str, str]], Body | None]"
    parameters: Mapping[str, str]
    label: str


class Response(NamedTuple):
    status: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def respond(environ: Environ) -> Response | None:
    """The response to a plain request for predictions; None leaves the request to Django.

    If it returns None, the body can still be read from `wsgi.input`.
    """
    if environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
        return None
    started = time.perf_counter()
    route = _route(environ["PATH_INFO"])
    if route is None or not _is_plain_request(environ):
        return None
    caller = _caller(environ)
    if caller is None:
        return None
    context = logs.request_id.set(caller.request_id)
    try:
        body = _answer(environ, route, caller)
        if body is None:
            return None
        return _finish(environ, route.label, started, body, caller)
    finally:
        logs.request_id.reset(context)
        # As Django does at the end of a request: returns the connection to the pool.
        release_connection()


def respond_to_probe(environ: Environ) -> Response | None:
    """The response to a plain GET of a health check; None leaves the request to Django.

    In a busy process each step of the long way through Django may wait for the interpreter lock.
    """
    started = time.perf_counter()
    probe = _probe(environ["PATH_INFO"])
    if probe is None or environ.get("QUERY_STRING") or any(n in environ for n in UNUSUAL_HEADERS):
        return None
    view, label = probe
    caller = Caller(request_id=request_id_of(environ))
    context = logs.request_id.set(caller.request_id)
    try:
        answer = view(WSGIRequest(environ))
        body = HTTPStatus(answer.status_code), answer.content, dict(answer.headers)
        return _finish(environ, label, started, body, caller)
    finally:
        logs.request_id.reset(context)


def _finish(environ: Environ, label: str, started: float, body: Body, caller: Caller) -> Response:
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
            *_common_headers(_is_secure(environ)),
        ],
        content,
    )


def _caller(environ: Environ) -> Caller | None:
    """The caller that the token names; None leaves it to Django to report an invalid token or
    timeout.
    """
    try:
        verified = authentication.verify(environ.get("HTTP_AUTHORIZATION", ""))
        timeout_seconds = read_timeout(environ)
    except Exception:
        return None
    if verified is None:
        return None
    user, token = verified
    return Caller(
        int(user.pk),
        request_id_of(environ),
        password_claim(token),
        arrival(environ),
        timeout_seconds,
    )


def _answer(environ: Environ, route: Route, caller: Caller) -> Body | None:
    """Status, body and headers; None leaves the request to Django, with the body rewound."""
    length = int(environ["CONTENT_LENGTH"])
    try:
        content = environ["wsgi.input"].read(length)
    except OSError:
        # Django's own attempt fails as well, and becomes its response to a broken connection.
        return None
    if len(content) != length:
        environ["wsgi.input"] = io.BytesIO(content)
        return None
    try:
        body = route.handler(environ, content, caller, route.parameters)
    except Exception as error:
        environ["wsgi.input"] = io.BytesIO(content)
        return _problem(environ, error, caller)
    if body is None:
        environ["wsgi.input"] = io.BytesIO(content)
    return body


def _problem(environ: Environ, error: Exception, caller: Caller) -> Body:
    request = WSGIRequest(environ)
    request.request_id = caller.request_id  # type: ignore[attr-defined]
    response: HttpResponse = exception_handler(
        authentication.error_for(caller, error), {"request": request}
    )
    return HTTPStatus(response.status_code), response.content, dict(response.headers)


# -- which requests


@lru_cache(1024)
def _route(path: str) -> Route | None:
    # Bounded, because clients choose the paths; large enough for the models in frequent use.
    match = _match(path)
    handler = match and ROUTES.get(match.view_name or "")
    return Route(handler, match.kwargs, readable_route(match.route)) if match and handler else None


@lru_cache(1024)
def _probe(path: str) -> "tuple[Callable[[HttpRequest], HttpResponse], str] | None":
    match = _match(path)
    view = match and PROBES.get(match.view_name or "")
    return (view, readable_route(match.route)) if match and view else None


def _match(path: str) -> ResolverMatch | None:
    with suppress(Resolver404):
        return resolve(path)
    return None


def _is_plain_request(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH") or ""
    return (
        length.isdecimal()
        and int(length) <= settings.MAX_REQUEST_BYTES
        and not any(name in environ for name in UNUSUAL_HEADERS)
        and _is_allowed_host(
            environ.get("HTTP_HOST"), environ["SERVER_NAME"], environ["SERVER_PORT"]
        )
        and (not settings.SECURE_SSL_REDIRECT or _is_secure(environ))
    )


@lru_cache(1024)
def _is_allowed_host(host: str | None, server_name: str, server_port: str) -> bool:
    headers = {} if host is None else {"HTTP_HOST": host}
    request = _bare_request(SERVER_NAME=server_name, SERVER_PORT=server_port, **headers)
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


def _is_secure(environ: Environ) -> bool:
    """Whether the client's connection uses TLS, as `HttpRequest.is_secure` decides it."""
    if proxy_header := settings.SECURE_PROXY_SSL_HEADER:
        name, secure_value = proxy_header
        if (value := environ.get(name)) is not None:
            return bool(value.split(",", 1)[0].strip() == secure_value)
    return bool(environ.get("wsgi.url_scheme") == "https")


@lru_cache
def _common_headers(is_secure: bool) -> list[tuple[str, str]]:
    """The headers that the middleware would add, taken from that middleware."""
    environ = {"wsgi.url_scheme": "https" if is_secure else "http"}
    if is_secure and settings.SECURE_PROXY_SSL_HEADER:
        name, secure_value = settings.SECURE_PROXY_SSL_HEADER
        environ[name] = secure_value
    request = _bare_request(**environ)
    response = HttpResponse()
    del response.headers["Content-Type"]
    HttpsMiddleware(lambda _: response).process_response(request, response)
    XFrameOptionsMiddleware(lambda _: response).process_response(request, response)
    patch_vary_headers(response, ["origin"])
    response.headers[content_security.HEADER] = content_security.API_POLICY
    return list(response.headers.items())


def _bare_request(**environ: str) -> WSGIRequest:
    return WSGIRequest({"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(), **environ})


# -- handlers


def _predict(
    environ: Environ, content: bytes, caller: Caller, parameters: Mapping[str, str]
) -> Body | None:
    if environ.get("CONTENT_TYPE") != "application/json":
        return None
    try:
        data = parse_json_body(content)
    except ValueError:
        return None
    if not _is_plain_body(data):
        return None
    question = Question(
        caller=caller,
        model_id=data.get("model_id"),
        model=data.get("model"),
        subject=data.get("subject"),
    )
    record = services.predict(question, data["input_data"], reference=data.get("reference"))
    document = orjson.dumps(PREDICTION.to_representation(record), option=orjson.OPT_UTC_Z)
    return HTTPStatus.CREATED, document, JSON_HEADERS


def _is_plain_body(data: Any) -> bool:
    """Whether PredictionRequest would accept a body unchanged."""
    if not isinstance(data, dict) or not isinstance(data.get("input_data"), dict):
        return False
    for key, value in data.items():
        if key == "model_id":
            is_plain = type(value) is int and value > 0
        elif key in PLAIN_TEXTS:
            is_plain = (
                type(value) is str
                and 0 < len(value) <= MAX_PLAIN_LENGTH
                and PLAIN_CHARACTERS.issuperset(value)
            )
        else:
            is_plain = key == "input_data"
        if not is_plain:
            return False
    return ("model_id" in data) != ("model" in data)


def _infer(
    environ: Environ, content: bytes, caller: Caller, parameters: Mapping[str, str]
) -> Body | None:
    request = read_request(content, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))
    if KEY_PARAMETER in request.parameters:
        return None
    specifier = specifier_of(parameters["name"], parameters.get("version"))
    body, headers = infer(specifier, request, caller)
    return HTTPStatus.OK, body, headers


PROBES = {
    "live": views.live,
    "ready": views.ready,
    "v2-live": views.open_inference_live,
    "v2-ready": views.open_inference_ready,
}
ROUTES = {"prediction-list": _predict, "v2-infer": _infer, "v2-version-infer": _infer}
