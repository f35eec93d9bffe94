"""Routes of health and metrics: for people, for orchestrators' probes and for Prometheus."""

import hmac
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import cast

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.views import APIView

from mlapi.error_format import Problem
from mlapi.health import monitor
from mlapi.health.monitor import State, is_ready
from mlapi.metrics import exposition
from mlapi.problems import exception_handler
from predictions.authentication import TokenAuthentication
from predictions.open_inference.schema import LIVE, READY
from registry.access import rights
from registry.access.accessor import Accessor
from registry.access.limits import RateLimited
from registry.loading import loader
from registry.models import ApiKey, Right

RETRY_AFTER_SECONDS = 5
SAFE_METHODS = ("GET", "HEAD")

View = Callable[[HttpRequest], HttpResponse]


def probe(view: View) -> View:
    """Restrict a view to GET and HEAD and forbid caching its response."""

    @csrf_exempt
    @never_cache
    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        if request.method in SAFE_METHODS:
            return view(request)
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"Method {request.method} is not allowed.",
            headers={"Allow": ", ".join(SAFE_METHODS)},
        ).response(request)

    return wrapped


@probe
def live(request: HttpRequest) -> HttpResponse:
    """200 while this process responds; checks nothing else."""
    return JsonResponse({"status": "alive"})


@probe
def ready(request: HttpRequest) -> HttpResponse:
    """200 if every check is passed, else 503; the body has the state of each."""
    state = monitor.state()
    return _respond({"status": "ready" if is_ready(state) else "not ready", **state}, state)


@probe
def health(request: HttpRequest) -> HttpResponse:
    """As `ready`, with the version of the service and the loaded models of this worker."""
    state = monitor.state()
    body = {
        "status": "ok" if is_ready(state) else "unavailable",
        "version": settings.VERSION,
        **state,
        "loaded_models": loader.loaded_specifiers(),
    }
    return _respond(body, state)


@probe
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics in Prometheus's text format, for METRICS_TOKEN and those who may read every log."""
    try:
        refusal = _refuse_metrics(request)
    except RateLimited as error:
        return exception_handler(error, {"request": request})
    if refusal is not None:
        return refusal.response(request)
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


def open_inference_live(request: Request | HttpRequest) -> HttpResponse:
    return JsonResponse({"live": True})


def open_inference_ready(request: Request | HttpRequest) -> HttpResponse:
    state = monitor.state()
    return _respond({"ready": is_ready(state)}, state)


class OpenInferenceLiveView(APIView):
    """`live` in the format of the Open Inference Protocol."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="v2_live", responses={(200, "application/json"): LIVE})
    def get(self, request: Request) -> HttpResponse:
        """200 while this process responds."""
        return open_inference_live(request)


class OpenInferenceReadyView(APIView):
    """`ready` in the format of the Open Inference Protocol."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        operation_id="v2_ready",
        responses={(200, "application/json"): READY, (503, "application/json"): READY},
    )
    def get(self, request: Request) -> HttpResponse:
        """200 if every check is passed, else 503."""
        return open_inference_ready(request)


def _respond(body: Mapping[str, object], state: State) -> HttpResponse:
    if is_ready(state):
        return JsonResponse(dict(body))
    return JsonResponse(
        dict(body),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _refuse_metrics(request: HttpRequest) -> Problem | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected: str = settings.METRICS_TOKEN
    # Compared as bytes: hmac rejects text with non-ASCII characters.
    is_expected = hmac.compare_digest(token.encode(errors="replace"), expected.encode())
    if expected and scheme.lower() == "bearer" and is_expected:
        return None
    try:
        found = TokenAuthentication().authenticate(Request(request))
    except AuthenticationFailed:
        found = None
    if found is None:
        return Problem(
            HTTPStatus.UNAUTHORIZED,
            "Send METRICS_TOKEN, an access token or an API key as a bearer token.",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    user, key = found
    is_key = isinstance(key, ApiKey)
    accessor = Accessor(key.owner, key) if is_key else Accessor(cast(User, user))
    if rights.holds_everywhere(accessor, Right.READ_LOG):
        return None
    # The labels name models and say how much they are used.
    detail = "You may not read the predictions of every model, and so not the metrics of all."
    return Problem(HTTPStatus.FORBIDDEN, detail)
