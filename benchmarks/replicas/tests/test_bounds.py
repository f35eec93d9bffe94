"""What many workers ask of one database."""

import pytest

from benchmarks.replicas.bounds import Cost, demand, table

COST = Cost(worker_cpu_us=500, database_cpu_us=100, commits=0.5, flushes=0.4, wal_bytes=1000)


def test_everything_grows_with_the_workers() -> None:
    found = demand(COST, 10, flush_seconds=0.001)

    assert found.requests_per_second == pytest.approx(20_000)
    assert found.database_processors == pytest.approx(2)
    assert found.commits_per_second == pytest.approx(10_000)
    assert found.wal_megabytes_per_second == pytest.approx(20)
    assert found.commits_per_flush == pytest.approx(10)
    assert (found.connections, found.most_connections) == (100, 300)


def test_the_time_of_a_flush_may_be_unknown() -> None:
    assert demand(COST, 10, flush_seconds=None).commits_per_flush is None
    assert "| 10 " in table([demand(COST, 10, flush_seconds=None)])
