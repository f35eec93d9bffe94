import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from mlapi.databases.probes import probe_connection, write_refusal
from registry.testing.databases import postgresql

sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="needs SQLite")
ROLE = "mlapi_test_reader"


def refusal() -> str:
    with probe_connection() as probe:
        return write_refusal(probe)


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


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
def read_only_database(transactional_db: None) -> Iterator[None]:
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    yield
    execute(
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {name} RESET default_transaction_read_only",
    )


@postgresql
def test_a_read_only_database_is_refused(read_only_database: None) -> None:
    assert refusal() == "it is read-only"


@pytest.fixture
def reader(transactional_db: None) -> Iterator[None]:
    """A role that may read everything, for the probes."""
    execute(f"CREATE ROLE {ROLE} LOGIN", f"GRANT pg_read_all_data TO {ROLE}")
    user = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = ROLE
    yield
    connection.settings_dict["USER"] = user
    execute(f"REVOKE pg_read_all_data FROM {ROLE}", f"DROP ROLE {ROLE}")


@postgresql
def test_a_role_without_insert_is_refused(reader: None) -> None:
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
