"""Folders on disk: what they contain, and models that MLflow itself saved."""

from io import StringIO
from pathlib import Path

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
