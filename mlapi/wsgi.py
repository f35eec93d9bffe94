"""The WSGI application, as `manage.py serve` runs it: the fast lane, and Django behind it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

django_application: WSGIHandler = get_wsgi_application()

# Django must be set up before it is imported.
from mlapi import fast_lane  # noqa: E402
from mlapi.proxies import prefixes  # noqa: E402


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer by the fast lane if it takes the request, else by Django."""
    prefixes.mount(environ)
    fast = fast_lane.respond(environ)
    if fast is not None:
        start_response(fast.status, list(fast.headers))
        return [fast.body]
    # The server sets it, but lets a chunked body that was cut off look like a complete one.
    environ["wsgi.input_terminated"] = False
    response = django_application(environ, start_response)
    if not isinstance(response, HttpResponse):
        return response
    # The server sends a list at once but an iterator piece by piece. Closing the response here
    # returns the database connection before the body is sent, not after.
    response.close()
    return [response.content]
