"""Which requests take the fast lane, and who makes them."""

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve

from mlapi.fast_lane.handlers import PROBES, ROUTES, Environ, Handler
from mlapi.metrics import readable_route
from mlapi.middleware import request_id_of
from predictions import authentication
from predictions.serving.limits.deadlines import arrival, read_timeout
from predictions.serving.questions import Caller, password_claim
from registry.models import ApiKey

# Each of these needs Django: browsers, a key that may repeat an earlier answer, an encoded body.
UNUSUAL_HEADERS = (
    "HTTP_ORIGIN",
    "HTTP_COOKIE",
    "HTTP_IDEMPOTENCY_KEY",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_CONTENT_ENCODING",
)


class Route(NamedTuple):
    """A route of the fast lane: its handler, the path's parameters, and its name in the metrics."""

    handler: Handler
    parameters: Mapping[str, str]
    label: str


def caller_of(environ: Environ) -> Caller | None:
    """The caller that the token or API key names; None leaves it to Django to report an invalid
    token, key or timeout.
    """
    try:
        verified = authentication.verify(environ)
        timeout_seconds = read_timeout(environ)
    except Exception:
        # Any error: Django meets the same one, and answers it.
        return None
    if verified is None:
        return None
    user, credential = verified
    api_key_id = credential.pk if isinstance(credential, ApiKey) else None
    return Caller(
        int(user.pk),
        request_id_of(environ),
        password_claim(credential) if api_key_id is None else None,
        api_key_id,
        arrival(environ),
        timeout_seconds,
    )


@lru_cache(1024)
def route_of(path: str) -> Route | None:
    # Bounded, because clients choose the paths; large enough for the models in frequent use.
    match = _match(path)
    handler = match and ROUTES.get(match.view_name or "")
    return Route(handler, match.kwargs, readable_route(match.route)) if match and handler else None


@lru_cache(1024)
def probe_of(path: str) -> tuple[Callable[[HttpRequest], HttpResponse], str] | None:
    match = _match(path)
    view = match and PROBES.get(match.view_name or "")
    return (view, readable_route(match.route)) if match and view else None


def _match(path: str) -> ResolverMatch | None:
    with suppress(Resolver404):
        return resolve(path)
    return None


def is_plain(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH") or ""
    return (
        length.isdecimal()
        and int(length) <= settings.MAX_REQUEST_BYTES
        and not any(name in environ for name in UNUSUAL_HEADERS)
        and _is_allowed_host(
            environ.get("HTTP_HOST"), environ["SERVER_NAME"], environ["SERVER_PORT"]
        )
        and (not settings.SECURE_SSL_REDIRECT or is_secure(environ))
    )


@lru_cache(1024)
def _is_allowed_host(host: str | None, server_name: str, server_port: str) -> bool:
    headers = {} if host is None else {"HTTP_HOST": host}
    request = bare_request(SERVER_NAME=server_name, SERVER_PORT=server_port, **headers)
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


def is_secure(environ: Environ) -> bool:
    """Whether the client's connection uses TLS, as `HttpRequest.is_secure` decides it."""
    if proxy_header := settings.SECURE_PROXY_SSL_HEADER:
        name, secure_value = proxy_header
        if (value := environ.get(name)) is not None:
            return bool(value.split(",", 1)[0].strip() == secure_value)
    return bool(environ.get("wsgi.url_scheme") == "https")


def bare_request(**environ: str) -> WSGIRequest:
    return WSGIRequest({"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(), **environ})
