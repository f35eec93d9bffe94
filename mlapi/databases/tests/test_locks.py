"""`migrate` and `quickstart` by several processes at once."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from registry.locks.process_locks import process_lock
from registry.locks.separate_connections import separate_connection

TIMEOUT_SECONDS = 300


@pytest.fixture
def empty_database_url(tmp_path: Path, transactional_db: None) -> Iterator[str]:
    """The address of a database without tables."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    name = f"mlapi_empty_{secrets.token_hex(4)}"
    usual = os.environ["DATABASE_URL"]
    with separate_connection(connection) as admin:
        admin.set_autocommit(True)
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            head, _, query = usual.partition("?")
            yield f"{head.rpartition('/')[0]}/{name}?{query}"
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def start(url: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_three_processes_can_migrate_at_once(empty_database_url: str) -> None:
    processes = [start(empty_database_url, "migrate") for _ in range(3)]

    outputs = [process.communicate(timeout=TIMEOUT_SECONDS)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum("predictions.0001_initial... OK" in output for output in outputs) == 1
    assert sum("No migrations to apply" in output for output in outputs) == 2


@pytest.mark.django_db(transaction=True)
def test_a_second_holder_waits_and_says_so() -> None:
    waits, entered = threading.Event(), threading.Event()

    def enter() -> None:
        with process_lock("test", using="default", on_wait=waits.set):
            entered.set()
        connection.close()

    with process_lock("test", using="default", on_wait=lambda: None):
        thread = threading.Thread(target=enter)
        thread.start()
        assert waits.wait(30)
        assert not entered.is_set()
    thread.join(30)

    assert entered.is_set()


@pytest.mark.django_db(transaction=True)
def test_locks_with_other_names_do_not_wait() -> None:
    waits = threading.Event()

    with (
        process_lock("one", using="default", on_wait=waits.set),
        process_lock("two", using="default", on_wait=waits.set),
    ):
        pass

    assert not waits.is_set()
    assert not list(Path(str(connection.settings_dict["NAME"])).parent.glob("*-one"))
