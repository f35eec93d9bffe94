"""Metrics of the HTTP layer and the connection pool, and the exposition of all metrics.

Each app declares its own in its metrics.py; all share prometheus-client's default registry.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from django.apps import apps
from django.contrib.admindocs.views import simplify_regex
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.http import HttpRequest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from predictions.evaluation.monitoring.metrics import GAUGES

logger = logging.getLogger(__name__)

# The labels, in the metrics of all apps, that name a version: `name:version`, or its ID.
VERSION_LABELS = ("model", "model_id")
SECONDS_BETWEEN_CHECKS = 60

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


def observe_pool() -> None:
    """Publish the statistics of this process's psycopg pool, if it has one."""
    pool = getattr(connections[DEFAULT_DB_ALIAS], "pool", None)
    stats: Mapping[str, int] = pool.get_stats() if pool else {}
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
    observe_pool()
    registry = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _remove_gauges_of_dead_workers(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    families = [*registry.collect(), *GAUGES.families()]
    ended = ENDED_VERSIONS.among(_version_labels(families))
    return generate_latest(_Families(families, ended))


class EndedVersions:
    """Which versions in the metrics' labels were deleted or deactivated: their series end.

    Hiding them works in one process and in several, where the library cannot remove a series; one
    that is activated again continues. The versions are read in the background: a scrape must be
    answered while the database is not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: frozenset[str] = frozenset()
        self._next_check = 0.0

    def among(self, labels: frozenset[str]) -> frozenset[str]:
        """Those of `labels` that had ended at the last check; starts another if that was long ago.

        A label that was not among those of the last check, such as a new version's, has not ended.
        """
        with self._lock:
            is_due = bool(labels) and time.monotonic() >= self._next_check
            if is_due:
                # Also the time that a check may take before another one starts beside it.
                self._next_check = time.monotonic() + SECONDS_BETWEEN_CHECKS
        if is_due:
            threading.Thread(
                target=self._check_and_close, args=[labels], name="ended-versions", daemon=True
            ).start()
        return self._ended

    def check(self, labels: frozenset[str]) -> None:
        """Find out which of `labels`, `name:version` or a version's ID, have ended."""
        versions = apps.get_model("registry", "ModelVersion")._default_manager
        active = versions.filter(is_active=True).values_list("pk", "name", "version")
        in_use = {label for pk, name, version in active for label in (str(pk), f"{name}:{version}")}
        self._ended = labels - in_use

    def _check_and_close(self, labels: frozenset[str]) -> None:
        try:
            self.check(labels)
        except Exception as error:
            # The next check tries again. The database reports its own troubles elsewhere.
            logger.debug("The versions in use could not be read: %s", error)
        finally:
            connection.close()


ENDED_VERSIONS = EndedVersions()


def _version_labels(families: Iterable[Metric]) -> frozenset[str]:
    return frozenset(
        sample.labels[name]
        for family in families
        for sample in family.samples
        for name in VERSION_LABELS
        if name in sample.labels
    )


class _Families(Collector):
    """Metric families without the samples of the versions that have ended."""

    def __init__(self, families: Iterable[Metric], ended: frozenset[str]) -> None:
        self._families = families
        self._ended = ended

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if self._ended:
                family.samples = [
                    sample
                    for sample in family.samples
                    if not any(sample.labels.get(name) in self._ended for name in VERSION_LABELS)
                ]
            yield family


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
