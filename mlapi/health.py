"""Is it alive, can it serve, what is it doing: for people, probes and Prometheus."""

import hmac
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication

from mlapi.metrics import exposition
from mlapi.problems import Problem
from predictions.open_inference.schema import LIVE, READY
from registry import loader

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 2
RETRY_AFTER_SECONDS = 5
SAFE_METHODS = ("GET", "HEAD")

View = Callable[[HttpRequest], HttpResponse]


def probe(view: View) -> View:
    """A view for GET and HEAD alone, which nothing may cache."""

    @csrf_exempt
    @never_cache
    @wraps(view)
    def safe(request: HttpRequest) -> HttpResponse:
        if request.method in SAFE_METHODS:
            return view(request)
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"Method {request.method} is not allowed.",
            headers={"Allow": ", ".join(SAFE_METHODS)},
        ).response(request)

    return safe


@probe
def live(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers at all: touches nothing else."""
    return JsonResponse({"status": "alive"})


@probe
def ready(request: HttpRequest) -> HttpResponse:
    """200 once the database answers and its migrations are applied, else 503."""
    state = database_state()
    return _by_state({"status": "ready" if _is_ready(state) else "not ready", **state}, state)


@probe
def health(request: HttpRequest) -> HttpResponse:
    """As `ready`, and what this worker is: its version and its loaded models."""
    state = database_state()
    body = {
        "status": "ok" if _is_ready(state) else "unavailable",
        "version": settings.VERSION,
        **state,
        "loaded_models": loader.loaded_specifiers(),
    }
    return _by_state(body, state)


@probe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus's text format, for METRICS_TOKEN or an access token."""
    if not _may_read_metrics(request):
        return Problem(
            HTTPStatus.UNAUTHORIZED,
            "Needs a bearer token: METRICS_TOKEN or an access token.",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        ).response(request)
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


class OpenInferenceLiveView(APIView):
    """`live` as the Open Inference Protocol's clients ask for it."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="v2_live", responses={(200, "application/json"): LIVE})
    def get(self, request: Request) -> HttpResponse:
        """200 as long as this process answers at all."""
        return JsonResponse({"live": True})


class OpenInferenceReadyView(APIView):
    """`ready`, likewise."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="v2_ready", responses={(200, "application/json"): READY})
    def get(self, request: Request) -> HttpResponse:
        """200 once the database answers and its migrations are applied, else 503."""
        state = database_state()
        return _by_state({"ready": _is_ready(state)}, state)


def database_state() -> dict[str, str]:
    """`database`: ok or unavailable; `migrations`: applied, pending or unknown."""
    try:
        with probe_connection() as connection:
            applied = _applied_migrations(connection)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("The database does not answer: %s", error)
        return {"database": "unavailable", "migrations": "unknown"}
    are_applied = all(migration in applied for migration in _last_migrations())
    return {"database": "ok", "migrations": "applied" if are_applied else "pending"}


@contextmanager
def probe_connection() -> Iterator[BaseDatabaseWrapper]:
    """A connection of its own with short timeouts: a drained pool must not fail a probe."""
    connection = connections[DEFAULT_DB_ALIAS].copy()
    options: dict[str, Any] = connection.settings_dict["OPTIONS"]
    if connection.vendor == "postgresql":
        options.pop("pool", None)
        options["connect_timeout"] = PROBE_TIMEOUT_SECONDS
        given = options.get("options", "")
        options["options"] = f"{given} -c statement_timeout={PROBE_TIMEOUT_SECONDS}s".strip()
    else:
        options["timeout"] = PROBE_TIMEOUT_SECONDS
    try:
        yield connection
    finally:
        connection.close()


def _applied_migrations(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """As the recorder's method of this name, whose queries go by alias and so through the pool."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return set()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT app, name FROM {recorder.Migration._meta.db_table}")  # noqa: S608
        return set(cursor.fetchall())


@cache
def _last_migrations() -> tuple[tuple[str, str], ...]:
    """Each app's last migration on disk; they don't change while the process runs."""
    return tuple(MigrationLoader(None).graph.leaf_nodes())


def _is_ready(state: dict[str, str]) -> bool:
    return state == {"database": "ok", "migrations": "applied"}


def _by_state(body: dict[str, Any], state: dict[str, str]) -> HttpResponse:
    if _is_ready(state):
        return JsonResponse(body)
    return JsonResponse(
        body,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _may_read_metrics(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected: str = settings.METRICS_TOKEN
    # Compared as bytes: hmac refuses text beyond ASCII.
    is_expected = hmac.compare_digest(token.encode(errors="replace"), expected.encode())
    if expected and scheme.lower() == "bearer" and is_expected:
        return True
    try:
        return JWTAuthentication().authenticate(Request(request)) is not None
    except AuthenticationFailed:
        return False
