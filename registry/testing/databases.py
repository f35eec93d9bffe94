"""The test database: its triggers, its connection pool and its uncounted statements."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test import TransactionTestCase

from registry.database import statements

POSTGRESQL_TABLES = (
    "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
    " WHERE NOT tgisinternal AND tgenabled <> 'D'"
)
SQLITE_TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"

# With which pytest-django sets up the test database. Those of other tests lead to one of them.
DATABASE_FIXTURES = frozenset({"db", "transactional_db", "live_server"})

postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no connection pool"
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the test database as `database`, before `-m` selects."""
    for item in items:
        assert isinstance(item, pytest.Function)
        if item.get_closest_marker("django_db") or not DATABASE_FIXTURES.isdisjoint(
            item.fixturenames
        ):
            item.add_marker("database")


@pytest.fixture(scope="session", autouse=True)
def flush_without_triggers() -> Iterator[None]:
    """Let transactional tests empty every table at their end, also those whose triggers refuse
    deletion.
    """
    patch = pytest.MonkeyPatch()
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def flush_without_triggers(test: TransactionTestCase) -> None:
        with triggers_disabled():
            flush(test)

    patch.setattr(TransactionTestCase, "_fixture_teardown", flush_without_triggers)
    yield
    patch.undo()


@contextmanager
def triggers_disabled() -> Iterator[None]:
    """Disable every trigger of the schema, which only the owner of the tables may do."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL_TABLES)
            tables = [table for (table,) in cursor.fetchall()]
            disable = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in tables]
            enable = [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables]
        else:
            cursor.execute(SQLITE_TRIGGERS)
            triggers = cursor.fetchall()
            disable = [f"DROP TRIGGER {name}" for name, _ in triggers]
            enable = [sql for _, sql in triggers]
        for statement in disable:
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for statement in enable:
                cursor.execute(statement)


@contextmanager
def pool_limits(max_size: int, *, timeout_seconds: float) -> Iterator[None]:
    """Reopen the connection pool of the test database with other limits; for transactional tests
    on PostgreSQL.
    """
    options = connection.settings_dict["OPTIONS"]
    usual = options["pool"]
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    options["pool"] = {**usual, "min_size": 1, "max_size": max_size, "timeout": timeout_seconds}
    yield
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    # Not by monkeypatch: it may be undone after the database was flushed, which would open the
    # pool for the next tests with these limits.
    options["pool"] = usual


@pytest.fixture
def raw_statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of `statements.fetch`, which Django's query counts do not include."""
    recorded: list[str] = []

    def fetch(statement: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        recorded.append(statement)
        return statements.fetch(statement, parameters)

    for module in ("aliases", "versions"):
        monkeypatch.setattr(f"registry.models.{module}.fetch", fetch)
    return recorded
