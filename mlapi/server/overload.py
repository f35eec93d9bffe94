"""Refuses what a worker cannot take on."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from mlapi.error_format import Problem
from mlapi.proxies.probes import is_service_probe
from mlapi.server.in_flight import REFUSAL

RETRY_AFTER_SECONDS = 1

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class OverloadMiddleware:
    """Answers 503 to a request that the server marked as one that it cannot take, except to probes.

    The readiness of a model needs queries: while the database hangs, such probes would hold the
    threads that are kept for the others.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if REFUSAL in request.META and not is_service_probe(request):
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                request.META[REFUSAL],
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            ).response(request)
        return self.get_response(request)
