import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from django.core.management.base import CommandError
from tqdm import tqdm

from predictions.imports import InvalidLine, create_model_with_predictions, is_csv, read_predictions
from registry.exact_json.values import JSONObject
from registry.management.arguments import VersionCommand, add_version_arguments, version_fields
from registry.models import MAX_FRAMEWORK_LENGTH
from registry.services import VersionExists


class Command(VersionCommand):
    help = (
        "Register a version together with predictions that it made elsewhere, from an NDJSON or CSV"
        " file. Everything is written in one transaction; if a row is invalid, nothing is."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="CSV if the name ends in .csv, otherwise NDJSON."
        )
        parser.add_argument(
            "--framework", required=True, help="The framework of the version; any text."
        )
        add_version_arguments(parser)

    def handle(self, *, file: Path, framework: str, **options: object) -> None:
        if not 0 < len(framework) <= MAX_FRAMEWORK_LENGTH:
            raise CommandError(f"--framework: Must be 1 to {MAX_FRAMEWORK_LENGTH} characters.")
        try:
            # Spreadsheets write CSV with a byte order mark.
            with file.open(encoding="utf-8-sig", newline="") as lines:
                version, count = create_model_with_predictions(
                    framework=framework,
                    predictions=self._with_progress(lines, file),
                    **version_fields(options),
                )
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"Cannot read {file}: {error}") from error
        except InvalidLine as error:
            reason = str(error).removesuffix(".")
            raise CommandError(f"{file}, {reason}. Nothing was imported.") from error
        except VersionExists as error:
            raise CommandError(f"{error}. Nothing was imported.") from error
        self.stdout.write(
            self.style.SUCCESS(f"Imported {count} predictions of {version} (id {version.pk}).")
        )

    def _with_progress(self, lines: TextIO, file: Path) -> Iterator[JSONObject]:
        rows = read_predictions(lines, is_csv=is_csv(file))
        # disable=None: no progress bar unless the output is a terminal.
        return iter(tqdm(rows, unit=" rows", desc="Read", file=self.stderr, disable=None))
