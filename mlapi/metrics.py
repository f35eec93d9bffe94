"""Metrics of the HTTP layer and the connection pool, and the exposition of all metrics.

Each app declares its own in its metrics.py; all share prometheus-client's default registry.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

REQUESTS = Counter(
    "mlapi_requests", "Requests answered, by route and status.", ["route", "method", "status"]
)
REQUEST_SECONDS = Histogram(
    "mlapi_request_duration_seconds", "Time to answer a request.", ["route", "method"]
)
POOL_SIZE = Gauge(
    "mlapi_db_pool_size",
    "Database connections of the pools, idle and in use.",
    multiprocess_mode="livesum",
)
POOL_AVAILABLE = Gauge(
    "mlapi_db_pool_available", "Idle connections in the pools.", multiprocess_mode="livesum"
)
POOL_WAITING = Gauge(
    "mlapi_db_pool_waiting", "Requests waiting for a connection.", multiprocess_mode="livesum"
)

CLOSED_CONNECTIONS = Counter(
    "mlapi_connections_closed",
    "Connections closed because their clients were too slow or idle for too long.",
    ["reason"],
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count one response. `route` comes from `route_of`, so that clients cannot add labels."""
    method = method if method in METHODS else "other"
    requests, durations = _metrics_of(route, method, status)
    requests.inc()
    durations.observe(seconds)


@cache
def _metrics_of(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    # Cached: the library's look-up by labels takes longer than counting.
    return (
        REQUESTS.labels(route, method, str(status)),
        REQUEST_SECONDS.labels(route, method),
    )


def observe_pool(stats: Mapping[str, int]) -> None:
    """Publish the statistics of this process's psycopg pool."""
    POOL_SIZE.set(stats.get("pool_size", 0))
    POOL_AVAILABLE.set(stats.get("pool_available", 0))
    POOL_WAITING.set(stats.get("requests_waiting", 0))


def observe_closed_connections(reason: str, count: int) -> None:
    CLOSED_CONNECTIONS.labels(reason).inc(count)


def route_of(request: HttpRequest) -> str:
    """The pattern that matches the request, such as `/api/v1/models/{pk}/`, or `unmatched`."""
    match = request.resolver_match
    if match is None or match.url_name == UNMATCHED:
        return UNMATCHED
    return readable_route(match.route)


@cache
def readable_route(route: str) -> str:
    """A route's pattern as people write it, such as `/api/v1/models/{pk}/`."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", simplify_regex(route.replace("/?$", "/")))
    return path if path.startswith("/") else f"/{path}"


def exposition() -> bytes:
    """All metrics in Prometheus's text format, of all workers if they share a folder."""
    registry = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _remove_gauges_of_dead_workers(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _remove_gauges_of_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that have ended; their counters stay."""
    for pid in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        if pid.isdecimal() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
