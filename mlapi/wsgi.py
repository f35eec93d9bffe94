"""The WSGI application, as `manage.py serve` runs it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

django_application: WSGIHandler = get_wsgi_application()
# Each request gives its connection back at its end; to look for one at the next one's beginning,
# and to empty DEBUG's list of queries, took a twentieth of a prediction.
request_started.disconnect(close_old_connections)
if not settings.DEBUG:
    request_started.disconnect(reset_queries)


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
