"""The path below which clients see the service, if a proxy serves it below a sub-path."""

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponseBase
from django.urls import get_script_prefix

from mlapi.configuration.environment import parse_url_prefix
from mlapi.middleware import GetResponse

# A path that begins with one of these may be the service's own, so that a prefix such as `/api`
# cannot be told from it: a proxy that uses one must remove it.
OWN_FIRST_SEGMENTS = frozenset({"admin", "api", "health", "metrics", "static", "v1", "v2"})


def mount(environ: dict[str, Any]) -> None:
    """Set SCRIPT_NAME of a WSGI environment to the prefix, and remove it from PATH_INFO.

    The prefix is URL_PREFIX, else the header that FORWARDED_PREFIX_HEADER names; a header that is
    no path is ignored. Whether the proxy has removed the prefix from the path makes no difference.
    """
    prefix: str = settings.URL_PREFIX
    if not prefix:
        name = settings.FORWARDED_PREFIX_META
        if not name or name not in environ:
            return
        prefix = parse_url_prefix(environ[name]) or ""
        if not prefix:
            return
    environ["SCRIPT_NAME"] = prefix
    path = environ["PATH_INFO"]
    if f"{path}/".startswith(f"{prefix}/") and prefix.split("/")[1] not in OWN_FIRST_SEGMENTS:
        environ["PATH_INFO"] = path[len(prefix) :] or "/"


class CookiePathMiddleware:
    """Limits cookies to the prefix: other services of the same host must not get them."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if prefix := request.META.get("SCRIPT_NAME"):
            for cookie in response.cookies.values():
                cookie["path"] = prefix
        return response


class PrefixedStaticFilesStorage(StaticFilesStorage):
    """Static files, with addresses below the prefix of the request that is being answered."""

    def url(self, name: str | None) -> str:
        # The base class reads STATIC_URL once, but a header may give each request another prefix.
        return get_script_prefix().rstrip("/") + super().url(name)
