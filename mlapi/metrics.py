"""Counters of the HTTP layer and the pool, and the exposition of everybody's at /metrics.

The apps declare their own in a metrics.py each; all share prometheus-client's registry.
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
    "Database connections the pools hold, idle and in use.",
    multiprocess_mode="livesum",
)
POOL_AVAILABLE = Gauge(
    "mlapi_db_pool_available", "Idle connections in the pools.", multiprocess_mode="livesum"
)
POOL_WAITING = Gauge(
    "mlapi_db_pool_waiting", "Requests waiting for a connection.", multiprocess_mode="livesum"
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count one response under a route of `route_of`: clients cannot make up new labels."""
    requests, durations = _children(route, method if method in METHODS else "other", status)
    requests.inc()
    durations.observe(seconds)


@cache
def _children(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    # Looking one up by its labels takes longer than counting.
    return (
        REQUESTS.labels(route, method, str(status)),
        REQUEST_SECONDS.labels(route, method),
    )


def observe_pool(stats: Mapping[str, int]) -> None:
    """Take over psycopg-pool's statistics of this process."""
    POOL_SIZE.set(stats.get("pool_size", 0))
    POOL_AVAILABLE.set(stats.get("pool_available", 0))
    POOL_WAITING.set(stats.get("requests_waiting", 0))


def route_of(request: HttpRequest) -> str:
    """The pattern that matched, such as `/api/v1/models/{pk}/`, or `unmatched`."""
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
    """All metrics in Prometheus's text format: of every worker where they share a folder."""
    registry = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _forget_dead_workers(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry)


def _forget_dead_workers(folder: Path) -> None:
    """Drop the gauges of workers that have ended; their counters stay."""
    for pid in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        if pid.isdecimal() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), str(folder))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
