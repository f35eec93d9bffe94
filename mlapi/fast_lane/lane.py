"""Answers a request, or leaves it to Django."""

import io
import time
from http import HTTPStatus

from django.core.handlers.wsgi import WSGIRequest

from mlapi.configuration import logs
from mlapi.fast_lane.handlers import Body, Environ
from mlapi.fast_lane.requests import (
    UNUSUAL_HEADERS,
    Route,
    caller_of,
    is_plain,
    probe_of,
    route_of,
)
from mlapi.fast_lane.responses import Response, finish, problem_of
from mlapi.middleware import request_id_of
from predictions.serving.questions import Caller
from registry.loading.loader import release_connection


def respond(environ: Environ) -> Response | None:
    """The response to a plain request for predictions; None leaves the request to Django.

    If it returns None, the body can still be read from `wsgi.input`.
    """
    if environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
        return None
    started = time.perf_counter()
    route = route_of(environ["PATH_INFO"])
    if route is None or not is_plain(environ):
        return None
    caller = caller_of(environ)
    if caller is None:
        return None
    context = logs.request_id.set(caller.request_id)
    try:
        body = _answer(environ, route, caller)
        if body is None:
            return None
        return finish(environ, route.label, started, body, caller)
    finally:
        logs.request_id.reset(context)
        # As Django does at the end of a request: returns the connection to the pool.
        release_connection()


def respond_to_probe(environ: Environ) -> Response | None:
    """The response to a plain GET of a health check; None leaves the request to Django.

    In a busy process each step of the long way through Django may wait for the interpreter lock.
    """
    started = time.perf_counter()
    probe = probe_of(environ["PATH_INFO"])
    if probe is None or environ.get("QUERY_STRING") or any(n in environ for n in UNUSUAL_HEADERS):
        return None
    view, label = probe
    caller = Caller(request_id=request_id_of(environ))
    context = logs.request_id.set(caller.request_id)
    try:
        answer = view(WSGIRequest(environ))
        body = HTTPStatus(answer.status_code), answer.content, dict(answer.headers)
        return finish(environ, label, started, body, caller)
    finally:
        logs.request_id.reset(context)


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
        # Any error: as DRF does for its views, the handler turns it into a response, and logs it if
        # it is unexpected.
        environ["wsgi.input"] = io.BytesIO(content)
        return problem_of(environ, error, caller)
    if body is None:
        environ["wsgi.input"] = io.BytesIO(content)
    return body
