"""The command up to the start of the server; mlapi/server/tests/ start it."""

from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from mlapi.databases.startup import DatabaseUnfit, check_database
from mlapi.management.commands.serve import should_pin
from predictions.models import Prediction
from predictions.testing.rows import make_version
from registry.testing.databases import postgresql
from registry.testing.processes import manage


@pytest.mark.parametrize(
    ("option", "workers", "expected"),
    [(None, 10_000, True), (None, 0, False), (True, 1, True), (False, 10_000, False)],
)
def test_workers_are_pinned_if_there_are_enough_of_them(
    option: bool | None, workers: int, expected: bool
) -> None:
    assert should_pin(option, workers) is expected


@pytest.mark.parametrize("command", ["serve", "quickstart"])
@pytest.mark.parametrize(
    ("text", "message"),
    [("eighty", "must be a whole number"), ("70000", "must be between 1 and 65535")],
)
def test_a_port_that_is_none_is_named_in_one_line(command: str, text: str, message: str) -> None:
    with pytest.raises(CommandError, match=f"--port: {message}"):
        call_command(command, f"--port={text}")


def test_health_needs_a_port_of_its_own() -> None:
    with pytest.raises(CommandError, match="--health-port must be another port"):
        call_command("serve", "--port=8123", "--health-port=8123")


def test_unmigrated_database_stops_the_start(tmp_path: Path) -> None:
    result = manage("serve", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert result.returncode == 1
    assert "manage.py migrate" in result.stderr


@postgresql
@pytest.mark.django_db(transaction=True)
def test_restored_database_stops_the_start_until_it_is_migrated() -> None:
    row = Prediction.objects.create(model=make_version(None), input_data={})
    check_database()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {Prediction._meta.db_table}"  # noqa: S608
            " SET transaction_id = transaction_id + 1000000 WHERE id = %s",
            [row.pk],
        )

    with pytest.raises(DatabaseUnfit, match=r"restored.*migrate"):
        check_database()
