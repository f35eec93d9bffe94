"""Rate limits of API keys and of models, in requests per minute, shared by all processes.

A process leases requests of the current minute in chunks: one statement for a hundredth of the
limit. Together the processes never serve more than the limit in a minute of the database's clock.
They may refuse some too early, while another process holds leased requests that it does not use:
at most a hundredth of the limit for each other process, none below a limit of 200.
"""

import threading
import time
from functools import cache

from django.db import connection

from registry.database import statements
from registry.loading.cache import release_connection
from registry.metrics import RATE_LIMITED
from registry.models import RateUsage

LEASES_PER_MINUTE = 100
# Forgetting the leases of a minute wastes them, but exceeds nothing.
MAX_BUCKETS = 10_000
# A lease whose statement waited until the minute was over finds the row of the next one.
MAX_ATTEMPTS = 3

EPOCH = {
    "postgresql": "extract(epoch FROM statement_timestamp())",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}


class RateLimited(Exception):
    """A rate limit is used up until the minute ends; the message is for the caller."""

    def __init__(self, kind: RateUsage.Kind, limit: int, wait_seconds: float) -> None:
        noun = "This API key" if kind == RateUsage.Kind.KEY else "This model"
        super().__init__(
            f"{noun} has a limit of {limit} requests per minute, which is used up. Try again later."
        )
        self.retry_after = max(1, int(-(-wait_seconds // 1)))
        RATE_LIMITED.labels(kind.value).inc()


class _Bucket:
    """The requests that this process has leased for one key or model."""

    __slots__ = ("ends_at", "is_used_up", "left", "limit", "lock")

    def __init__(self, limit: int) -> None:
        self.lock = threading.Lock()
        self.limit = limit
        self.left = 0
        # The end of the minute, by the monotonic clock.
        self.ends_at = 0.0
        self.is_used_up = False


class Limiter:
    def __init__(self) -> None:
        self._buckets: dict[tuple[RateUsage.Kind, int], _Bucket] = {}

    def take(self, kind: RateUsage.Kind, subject_id: int, limit: int) -> None:
        """Count a request; raises RateLimited. Without a lease it takes one, in one statement."""
        bucket = self._buckets.get((kind, subject_id))
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.clear()
            bucket = self._buckets.setdefault((kind, subject_id), _Bucket(limit))
        with bucket.lock:
            now = time.monotonic()
            if now >= bucket.ends_at or limit != bucket.limit:
                bucket.limit, bucket.left, bucket.is_used_up = limit, 0, False
            if not bucket.left and not bucket.is_used_up:
                bucket.left, seconds = _lease(kind, subject_id, limit)
                bucket.ends_at = now + seconds
                bucket.is_used_up = not bucket.left
            if bucket.left:
                bucket.left -= 1
                return
            wait_seconds = bucket.ends_at - now
        raise RateLimited(kind, limit, wait_seconds)

    def forget(self) -> None:
        self._buckets.clear()


LIMITER = Limiter()


def _lease(kind: RateUsage.Kind, subject_id: int, limit: int) -> tuple[int, float]:
    """How many requests this process may serve, and the seconds until the minute ends."""
    chunk = max(1, limit // LEASES_PER_MINUTE)
    values = {"kind": kind.value, "subject_id": subject_id, "chunk": chunk, "limit": limit}
    for _ in range(MAX_ATTEMPTS):
        rows = statements.fetch(_lease_statement(connection.vendor), values)
        if rows:
            break
    # The caller that commits for all waiting ones may need the connection.
    release_connection()
    return (int(rows[0][0]), float(rows[0][1])) if rows else (0, 1.0)


@cache
def _lease_statement(vendor: str) -> str:
    epoch = EPOCH[vendor]
    table = RateUsage._meta.db_table
    # Rows of an earlier minute start again. A later minute is kept, unless it is so much later that
    # the clock must have been set back.
    is_same = "stored.minute = excluded.minute"
    lease = f"""CASE
        WHEN NOT {is_same} OR stored.used + %(chunk)s <= %(limit)s THEN %(chunk)s
        WHEN stored.used < %(limit)s THEN %(limit)s - stored.used
        ELSE 0 END"""
    return f"""
        INSERT INTO {table} AS stored (kind, subject_id, minute, used, lease)
        VALUES (%(kind)s, %(subject_id)s, CAST(floor({epoch} / 60) AS bigint), %(chunk)s, %(chunk)s)
        ON CONFLICT (kind, subject_id) DO UPDATE SET
            lease = {lease},
            used = (CASE WHEN {is_same} THEN stored.used ELSE 0 END) + {lease},
            minute = excluded.minute
        WHERE stored.minute <= excluded.minute OR stored.minute > excluded.minute + 1
        RETURNING lease, 60 * (minute + 1) - {epoch}
    """  # noqa: S608 -- the name of our own table
