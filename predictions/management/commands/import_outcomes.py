import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from tqdm import tqdm

from predictions.evaluation.outcomes.recording import OutcomesRefused, record_outcomes
from predictions.evaluation.outcomes.reports import InvalidReport, Report, read_report
from predictions.imports import InvalidLine, is_csv, rows_of
from registry.exact_json.values import parse_json

CHUNK_ROWS = 5000


class Command(BaseCommand):
    help = (
        "Record outcomes from NDJSON or CSV, by prediction_id or reference with value or label:"
        " all of them in one transaction, or nothing. What is recorded already is left as it is."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="NDJSON, or CSV where its name ends so.")

    def handle(self, *, file: Path, **options: Any) -> None:
        try:
            # Spreadsheets begin their CSV with a byte order mark.
            with file.open(encoding="utf-8-sig", newline="") as lines:
                recorded, unchanged = self._record(lines, is_csv=is_csv(file))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file} can not be read: {error}") from error
        except InvalidLine as error:
            reason = str(error).removesuffix(".")
            raise CommandError(f"{file}, {reason}. Nothing was imported.") from error
        self.stdout.write(
            self.style.SUCCESS(f"Recorded {recorded} outcomes; {unchanged} were there already.")
        )

    def _record(self, lines: TextIO, *, is_csv: bool) -> tuple[int, int]:
        recorded = unchanged = 0
        # disable=None: no bar where the output is no terminal.
        rows = iter(
            tqdm(
                _reports(lines, is_csv=is_csv),
                unit=" rows",
                desc="Read",
                file=self.stderr,
                disable=None,
            )
        )
        with transaction.atomic():
            while chunk := list(islice(rows, CHUNK_ROWS)):
                try:
                    done = record_outcomes([report for _, report in chunk])
                except OutcomesRefused as error:
                    fault = error.faults[0]
                    reason = f"{fault.field}: {fault.message}"
                    raise InvalidLine(chunk[fault.index][0], reason) from error
                recorded, unchanged = recorded + done.recorded, unchanged + done.unchanged
        return recorded, unchanged


def _reports(lines: TextIO, *, is_csv: bool) -> Iterator[tuple[int, Report]]:
    for number, row in rows_of(lines, is_csv=is_csv):
        try:
            yield number, read_report(_typed(row) if is_csv else row)
        except InvalidReport as error:
            reason = f"{error.field}: {error}" if error.field else str(error)
            raise InvalidLine(number, reason) from error


def _typed(cells: dict[str, Any]) -> dict[str, Any]:
    """Cells of CSV as JSON has them; what is no number stays the text it is, to be refused."""
    typed = dict(cells)
    for name in ("prediction_id", "value"):
        if name in cells:
            try:
                typed[name] = parse_json(cells[name].encode())
            except ValueError:
                continue
    return typed
