"""Folders on disk: what they contain, and models that MLflow itself saved."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

MLFLOW_FOLDERS = Path(__file__).resolve().parent / "data" / "mlflow"


def files_below(folder: Path) -> list[str]:
    """The files in a folder and its subfolders, by their relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def register_folder(folder: Path, *options: str) -> str:
    """Register an MLflow folder as iris:1 and return the output of the command."""
    if folder.name == "sklearn_mixed":
        # Its encoder knows two cities and fails on the generated one.
        options = ('--example=[{"city": "Oslo", "seats": 1}]', *options)
    output = StringIO()
    call_command(
        "register_model", str(folder), "--name=iris", "--version=1", *options, stdout=output
    )
    return output.getvalue()


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """Make `folder` a file system of that size; skips the test where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    if not is_mounted:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
