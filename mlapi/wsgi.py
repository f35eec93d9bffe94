"""The WSGI application, as `manage.py serve` runs it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

django_application: WSGIHandler = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Django's application, but what it answers in one piece is a list of one piece.

    The server sends a list at once and asks an iterator piece by piece. Closed here, a request also
    gives its database connection back before its answer is sent, not after.
    """
    response: Any = django_application(environ, start_response)
    if getattr(response, "streaming", True):
        return response
    response.close()
    return [response.content]
