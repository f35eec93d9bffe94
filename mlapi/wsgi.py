"""The WSGI application, as `manage.py serve` runs it: the fast lane, and Django behind it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.http.response import HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

django_application: WSGIHandler = get_wsgi_application()

# Django must be set up before it is imported.
from mlapi import fast_lane  # noqa: E402
from mlapi.proxies import prefixes  # noqa: E402
from mlapi.server.in_flight import (  # noqa: E402
    REFUSAL,
    InFlight,
    PendingAnswer,
    RequestInFlight,
    answer_then_discard,
)

in_flight = InFlight()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer by the fast lane if it takes the request, else by Django."""
    request = in_flight.begin(environ)
    pending = None
    try:
        answer = _answer(environ, start_response)
        if isinstance(answer, bytes) and _is_body_read(request, environ):
            # The server sends a list at once but an iterator piece by piece.
            return [answer]
        pending = _pending(answer, request)
        return pending
    finally:
        if pending is None:
            in_flight.end(request)


def _answer(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> bytes | HttpResponseBase:
    prefixes.mount(environ)
    fast = None
    refusal = in_flight.refusal()
    if environ["REQUEST_METHOD"] == "GET":
        # However many requests there are.
        fast = fast_lane.respond_to_probe(environ)
    elif not refusal:
        fast = fast_lane.respond(environ)
    if fast is not None:
        start_response(fast.status, list(fast.headers))
        return fast.body
    if refusal:
        environ[REFUSAL] = refusal
    response: HttpResponseBase = django_application(environ, start_response)
    if not isinstance(response, HttpResponse):
        return response
    # Closing the response here returns the database connection before the body is sent, not after.
    response.close()
    return response.content


def _is_body_read(request: RequestInFlight, environ: dict[str, Any]) -> bool:
    """Whether nothing is left to discard; a client that asks before it sends has sent nothing."""
    return (
        not request.remaining_bytes
        or not in_flight.has_room()
        or ("HTTP_EXPECT" in environ and request.waited_seconds == 0)
    )


def _pending(answer: bytes | HttpResponseBase, request: RequestInFlight) -> PendingAnswer:
    if isinstance(answer, bytes):
        pieces: Iterable[bytes] = answer_then_discard(request, answer)
        return PendingAnswer(pieces, close=lambda: in_flight.end(request))

    def close() -> None:
        try:
            answer.close()
        finally:
            in_flight.end(request)

    return PendingAnswer(answer, close)
