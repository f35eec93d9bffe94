"""Requests from inside the cluster: probes and scrapes, which come past the proxy.

An orchestrator's probe and a scraper use plain http and the address of this instance as their host.
They get no redirect to https, and no check of the host; no other route is exempt.
"""

import re

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.security import SecurityMiddleware

from mlapi.error_format import Problem

SERVICE_PATHS = re.compile(r"/(?:health(?:/live|/ready)?|metrics|v2/health/(?:live|ready))/?")
MODEL_PATHS = re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/ready/?")


def is_probe(request: HttpRequest) -> bool:
    return is_service_probe(request) or bool(MODEL_PATHS.fullmatch(request.path_info))


def is_service_probe(request: HttpRequest) -> bool:
    """Whether it asks about the service as a whole; the answer waits for nothing."""
    return bool(SERVICE_PATHS.fullmatch(request.path_info))


class HttpsMiddleware(SecurityMiddleware):
    """With SSL_REDIRECT, redirects http to https, and refuses what a redirect would not protect.

    The body of a POST has already been sent in clear text, and a client that follows the redirect
    repeats it as a GET.
    """

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:  # type: ignore[override]
        if not self.redirect or request.is_secure() or is_probe(request):
            return None
        if request.method in ("GET", "HEAD"):
            return super().process_request(request)
        return _https_required(request)


class HostMiddleware(CommonMiddleware):
    """Checks the host against ALLOWED_HOSTS; the answers to probes do not depend on it."""

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:  # type: ignore[override]
        return None if is_probe(request) else super().process_request(request)


def _https_required(request: HttpRequest) -> HttpResponse:
    detail = (
        "This service requires https. The request came over plain http and was not processed;"
        " what it contained was sent unencrypted."
    )
    return Problem(403, detail).response(request)
