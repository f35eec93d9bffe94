"""The command up to the start of the server; mlapi/tests/test_server.py starts it."""

from pathlib import Path

import pytest

from mlapi.management.commands.serve import should_pin
from registry.testing.processes import manage


@pytest.mark.parametrize(
    ("option", "workers", "expected"),
    [(None, 10_000, True), (None, 0, False), (True, 1, True), (False, 10_000, False)],
)
def test_workers_are_pinned_if_there_are_enough_of_them(
    option: bool | None, workers: int, expected: bool
) -> None:
    assert should_pin(option, workers) is expected


def test_unmigrated_database_stops_the_start(tmp_path: Path) -> None:
    result = manage("serve", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert result.returncode == 1
    assert "manage.py migrate" in result.stderr
