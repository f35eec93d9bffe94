"""Health checks and metrics: for people, for an orchestrator's probes and for Prometheus."""

import hmac
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, wraps
from http import HTTPStatus

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

from mlapi.metrics import exposition
from mlapi.problems import Problem
from predictions.authentication import TokenAuthentication
from predictions.open_inference.schema import LIVE, READY
from registry import loader

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 2
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
    """200 if the database responds and its migrations are applied, else 503."""
    state = database_state()
    return _respond({"status": "ready" if _is_ready(state) else "not ready", **state}, state)


@probe
def health(request: HttpRequest) -> HttpResponse:
    """As `ready`, with the version of the service and the loaded models of this worker."""
    state = database_state()
    body = {
        "status": "ok" if _is_ready(state) else "unavailable",
        "version": settings.VERSION,
        **state,
        "loaded_models": loader.loaded_specifiers(),
    }
    return _respond(body, state)


@probe
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics in Prometheus's text format; requires METRICS_TOKEN or an access token."""
    if not _may_read_metrics(request):
        return Problem(
            HTTPStatus.UNAUTHORIZED,
            "Send METRICS_TOKEN or an access token as a bearer token.",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        ).response(request)
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


class OpenInferenceLiveView(APIView):
    """`live` in the format of the Open Inference Protocol."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="v2_live", responses={(200, "application/json"): LIVE})
    def get(self, request: Request) -> HttpResponse:
        """200 while this process responds."""
        return JsonResponse({"live": True})


class OpenInferenceReadyView(APIView):
    """`ready` in the format of the Open Inference Protocol."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        operation_id="v2_ready",
        responses={(200, "application/json"): READY, (503, "application/json"): READY},
    )
    def get(self, request: Request) -> HttpResponse:
        """200 if the database responds and its migrations are applied, else 503."""
        state = database_state()
        return _respond({"ready": _is_ready(state)}, state)


def database_state() -> dict[str, str]:
    """`database`: ok or unavailable; `migrations`: applied, pending or unknown."""
    try:
        with probe_connection() as connection:
            applied = _applied_migrations(connection)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("The database does not respond: %s", error)
        return {"database": "unavailable", "migrations": "unknown"}
    are_applied = all(migration in applied for migration in _latest_migrations())
    return {"database": "ok", "migrations": "applied" if are_applied else "pending"}


@contextmanager
def probe_connection() -> Iterator[BaseDatabaseWrapper]:
    """A connection outside the pool with short timeouts: an exhausted pool must not fail probes."""
    connection = connections[DEFAULT_DB_ALIAS].copy()
    options: dict[str, object] = connection.settings_dict["OPTIONS"]
    if connection.vendor == "postgresql":
        options.pop("pool", None)
        options["connect_timeout"] = PROBE_TIMEOUT_SECONDS
        configured = options.get("options", "")
        options["options"] = f"{configured} -c statement_timeout={PROBE_TIMEOUT_SECONDS}s".strip()
    else:
        options["timeout"] = PROBE_TIMEOUT_SECONDS
    try:
        yield connection
    finally:
        connection.close()


def _applied_migrations(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """As MigrationRecorder.applied_migrations, which would use a connection of the pool."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return set()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT app, name FROM {recorder.Migration._meta.db_table}")  # noqa: S608
        return set(cursor.fetchall())


@cache
def _latest_migrations() -> tuple[tuple[str, str], ...]:
    """Each app's latest migration on disk, cached: it does not change while the process runs."""
    return tuple(MigrationLoader(None).graph.leaf_nodes())


def _is_ready(state: dict[str, str]) -> bool:
    return state == {"database": "ok", "migrations": "applied"}


def _respond(body: Mapping[str, object], state: dict[str, str]) -> HttpResponse:
    if _is_ready(state):
        return JsonResponse(dict(body))
    return JsonResponse(
        dict(body),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _may_read_metrics(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected: str = settings.METRICS_TOKEN
    # Compared as bytes: hmac rejects text with non-ASCII characters.
    is_expected = hmac.compare_digest(token.encode(errors="replace"), expected.encode())
    if expected and scheme.lower() == "bearer" and is_expected:
        return True
    try:
        return TokenAuthentication().authenticate(Request(request)) is not None
    except AuthenticationFailed:
        return False
