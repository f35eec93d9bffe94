"""Rules of the house that a machine can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

PROJECT = Path(__file__).resolve().parents[2]
# Which packages each may not import: floors above its own.
FORBIDDEN = {"registry": {"predictions", "mlapi"}, "predictions": {"mlapi"}}


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_downwards_only(package: str) -> None:
    files = [path for path in (PROJECT / package).rglob("*.py") if "tests" not in path.parts]

    upwards = [
        str(path.relative_to(PROJECT))
        for path in files
        if not FORBIDDEN[package].isdisjoint(imported_packages(path))
    ]

    assert files
    assert upwards == []


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
