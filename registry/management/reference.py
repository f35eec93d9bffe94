"""The reference that a version gets when it is registered."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from registry import hooks
from registry.models import ModelVersion


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    path: Path
    label_column: str | None


def add_reference_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="Rows with the version's features, usually its training data, with which monitors"
        " compare its predictions: .parquet, .csv or .ndjson.",
    )
    parser.add_argument(
        "--label-column",
        metavar="NAME",
        help="With --reference: the column with the true classes or values.",
    )


def read_reference(options: Mapping[str, Any]) -> ReferenceFile | None:
    """Raises CommandError if there is no such file, so that nothing is registered without it."""
    path: Path | None = options["reference"]
    if path is None:
        if options["label_column"] is not None:
            raise CommandError("--label-column needs --reference.")
        return None
    if not path.is_file():
        raise CommandError(f"--reference: there is no file {path}")
    return ReferenceFile(path, options["label_column"])


def set_reference(version: ModelVersion, file: ReferenceFile) -> str:
    """Raises CommandError; the version stays registered then."""
    hook = hooks.extension().set_reference
    if hook is None:
        raise CommandError("References are not available here.")
    try:
        return hook(version, file.path, file.label_column)
    except (ValueError, OSError) as error:
        raise CommandError(
            f"{version} is registered, but {file.path} is not its reference: {error}. Try again"
            " with: manage.py set_reference"
        ) from error
