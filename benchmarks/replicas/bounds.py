"""What a number of workers would ask of one PostgreSQL, computed from what one of them asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import report

# The defaults of DB_POOL_SIZE and DB_MAX_OVERFLOW.
POOL_SIZE = 10
MAX_OVERFLOW = 20


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs, with the worker that answers it fully busy.

    `commits` counts transactions, those that only read among them; requests that arrive together
    share one. `flushes` counts how often the write-ahead log was forced to the disk.
    """

    worker_cpu_us: float
    database_cpu_us: float
    commits: float
    flushes: float
    wal_bytes: float


@dataclass(frozen=True, slots=True)
class Demand:
    """What workers that are all fully busy ask of one database."""

    workers: int
    requests_per_second: float
    database_processors: float
    commits_per_second: float
    wal_megabytes_per_second: float
    commits_per_flush: float | None
    connections: int
    most_connections: int

    def row(self) -> list[str]:
        figures = [
            self.requests_per_second,
            self.database_processors,
            self.commits_per_second,
            self.wal_megabytes_per_second,
            self.commits_per_flush,
        ]
        connections = f"{self.connections:,} to {self.most_connections:,}"
        return [f"{self.workers:,}", *map(report.format_figure, figures), connections]


def demand(cost: Cost, workers: int, flush_seconds: float | None) -> Demand:
    """The costs of one worker, times their number.

    A worker's threads share one interpreter: it cannot use more than one processor. That is a bound
    rather than a forecast: nothing here allows for transactions that wait for each other.

    `commits_per_flush` is how many commits must share a flush for one disk, which needs
    `flush_seconds` for each, to keep up.
    """
    rate = workers * 1e6 / cost.worker_cpu_us
    commits = rate * cost.commits
    return Demand(
        workers=workers,
        requests_per_second=rate,
        database_processors=rate * cost.database_cpu_us / 1e6,
        commits_per_second=commits,
        wal_megabytes_per_second=rate * cost.wal_bytes / 1e6,
        commits_per_flush=None if flush_seconds is None else commits * flush_seconds,
        connections=workers * POOL_SIZE,
        most_connections=workers * (POOL_SIZE + MAX_OVERFLOW),
    )


def table(demands: Sequence[Demand]) -> str:
    head = ["workers", "requests/s", "database processors", "commits/s", "WAL MB/s"]
    head += ["commits per flush", "connections"]
    return report.table(head, [found.row() for found in demands])
