import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import CommandError
from tqdm import tqdm

from predictions.imports import InvalidLine, is_csv, read_predictions
from predictions.serving.services import create_model_with_predictions
from registry.management.arguments import VersionCommand, add_version_arguments, version_fields
from registry.models import MAX_FRAMEWORK_LENGTH
from registry.services import VersionExists


class Command(VersionCommand):
    help = (
        "Register a version together with predictions it made elsewhere, from NDJSON or CSV:"
        " all of them in one transaction, or nothing."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="NDJSON, or CSV where its name ends so.")
        parser.add_argument(
            "--framework", required=True, help="What the version was made with, for the record."
        )
        add_version_arguments(parser)

    def handle(self, *, file: Path, framework: str, **options: Any) -> None:
        if not 0 < len(framework) <= MAX_FRAMEWORK_LENGTH:
            raise CommandError(f"--framework: Must be 1 to {MAX_FRAMEWORK_LENGTH} characters.")
        try:
            # Spreadsheets begin their CSV with a byte order mark.
            with file.open(encoding="utf-8-sig", newline="") as lines:
                version, count = create_model_with_predictions(
                    framework=framework,
                    predictions=self._with_progress(lines, file),
                    **version_fields(options),
                )
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file} can not be read: {error}") from error
        except InvalidLine as error:
            reason = str(error).removesuffix(".")
            raise CommandError(f"{file}, {reason}. Nothing was imported.") from error
        except VersionExists as error:
            raise CommandError(f"{error}. Nothing was imported.") from error
        self.stdout.write(
            self.style.SUCCESS(f"Imported {count} predictions of {version} (id {version.pk}).")
        )

    def _with_progress(self, lines: TextIO, file: Path) -> Iterator[dict[str, Any]]:
        rows = read_predictions(lines, is_csv=is_csv(file))
        # disable=None: no bar where the output is no terminal.
        return iter(tqdm(rows, unit=" rows", desc="Read", file=self.stderr, disable=None))
