import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from mlapi.databases.probes import probe_connection, write_refusal
from mlapi.databases.tests import faults
from registry.testing.databases import postgresql

sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite")


def refusal() -> str:
    with probe_connection() as probe:
        return write_refusal(probe)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_can_be_written_is_not_refused() -> None:
    assert refusal() == ""


@postgresql
@pytest.mark.django_db(transaction=True)
def test_statements_of_a_probe_have_a_timeout() -> None:
    with probe_connection(1) as probe, probe.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")

        assert cursor.fetchone() == ("1s",)


@pytest.fixture
def own_connections(transactional_db: None) -> Iterator[None]:
    yield
    faults.reconnect()


@postgresql
def test_a_read_only_database_is_refused(own_connections: None) -> None:
    with faults.read_only():
        assert refusal() == "it is read-only"


@postgresql
def test_a_role_without_insert_is_refused(own_connections: None) -> None:
    with faults.role_without_insert():
        assert refusal() == "its role may not insert into predictions"


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_missing_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlapi.databases.probes.TABLE", "missing")

    assert refusal() == "the table missing is missing"


@sqlite
@pytest.mark.django_db(transaction=True)
def test_a_read_only_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not bind root, who may run the tests.
    monkeypatch.setattr("os.access", lambda path, mode: False)

    assert refusal() == "its file or folder is read-only"


@sqlite
@pytest.mark.django_db(transaction=True)
def test_sqlites_own_refusal_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "init_command", f"{options['init_command']} PRAGMA query_only=ON;")

    assert refusal() == "it is read-only"


@sqlite
@pytest.mark.django_db(transaction=True)
def test_a_database_that_another_process_writes_to_is_not_refused() -> None:
    writer = sqlite3.connect(Path(connection.settings_dict["NAME"]), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        with probe_connection(0) as probe:
            assert write_refusal(probe) == ""
    finally:
        writer.rollback()
        writer.close()
