from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.databases import read_database
from mlapi.configuration.environment import Environment
from mlapi.configuration.postgresql.bounded import BoundedConnection

BASE_DIR = Path("/srv/mlapi")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p%40ss@db:5433/ml",
        "postgresql://u:p%40ss@db:5433/ml",
        "postgresql+asyncpg://u:p%40ss@db:5433/ml",
        "postgresql+psycopg://u:p%40ss@db:5433/ml",
    ],
)
def test_postgresql_urls_are_read(url: str) -> None:
    database = read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)

    values = [database[key] for key in ("ENGINE", "USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert values == ["mlapi.configuration.postgresql", "u", "p@ss", "db", 5433, "ml"]
    assert database["CONN_MAX_AGE"] == 0


def test_options_in_the_postgresql_url_are_kept() -> None:
    url = "postgresql://u@/ml?host=/run/postgresql&sslmode=require"

    database = read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)

    assert database["OPTIONS"]["host"] == "/run/postgresql"
    assert database["OPTIONS"]["sslmode"] == "require"


def test_pool_variables_configure_the_pool() -> None:
    values = {
        "DATABASE_URL": "postgresql://u@db/ml",
        "DB_POOL_SIZE": "3",
        "DB_MAX_OVERFLOW": "4",
        "DB_POOL_TIMEOUT": "5",
        "DB_POOL_RECYCLE": "6",
    }

    database = read_database(Environment(values), base_dir=BASE_DIR)

    pool = database["OPTIONS"]["pool"]
    assert pool == {
        "min_size": 3,
        "max_size": 7,
        "timeout": 5,
        "max_lifetime": 6,
        "reconnect_timeout": 2,
        "connection_class": BoundedConnection,
    }


@pytest.mark.parametrize(
    ("pooler", "has_cursors", "may_prepare"),
    [("none", True, True), ("pgbouncer", False, True), ("unprepared", False, False)],
)
def test_a_pooler_limits_what_is_kept_in_a_connection(
    pooler: str, has_cursors: bool, may_prepare: bool
) -> None:
    values = {"DATABASE_URL": "postgresql://u@db/ml", "DB_POOLER": pooler}

    database = read_database(Environment(values), base_dir=BASE_DIR)

    assert database["DISABLE_SERVER_SIDE_CURSORS"] is not has_cursors
    assert (database["OPTIONS"]["prepare_threshold"] is not None) is may_prepare


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///data/db.sqlite3", BASE_DIR / "data/db.sqlite3"),
        ("sqlite:////var/db.sqlite3", Path("/var/db.sqlite3")),
        ("sqlite+aiosqlite:///a%20b+c.db", BASE_DIR / "a b+c.db"),
    ],
)
def test_sqlite_urls_are_read(url: str, name: Path) -> None:
    database = read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)

    assert database["NAME"] == name
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@db/ml",
        "postgresql+oracle://u:secret@db/ml",
        "postgresql://u:secret@db:port/ml",
        "postgresql://u:secret@db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://secret",
        "secret",
    ],
)
def test_other_urls_are_rejected_without_showing_them(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must be postgresql") as caught:
        read_database(Environment({"DATABASE_URL": url}), base_dir=BASE_DIR)
    assert "secret" not in str(caught.value)
