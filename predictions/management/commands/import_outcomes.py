import argparse
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TextIO

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from tqdm import tqdm

from predictions.evaluation.outcomes.recording import (
    OutcomesRefused,
    RecordedCounts,
    record_outcomes,
)
from predictions.evaluation.outcomes.reports import InvalidReport, Report, parse_report
from predictions.imports import InvalidLine, is_csv, read_rows
from registry.exact_json.values import parse_json

CHUNK_ROWS = 5000


class Command(BaseCommand):
    help = (
        "Record outcomes from an NDJSON or CSV file. Each row has a prediction_id or reference, and"
        " a value or label. All rows are recorded in one transaction; if one is invalid, none is."
        " Outcomes that were recorded before are left unchanged."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="CSV if the name ends in .csv, otherwise NDJSON."
        )

    def handle(self, *, file: Path, **options: object) -> None:
        try:
            # Spreadsheets write CSV with a byte order mark.
            with file.open(encoding="utf-8-sig", newline="") as lines:
                counts = self._record(lines, is_csv=is_csv(file))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"Cannot read {file}: {error}") from error
        except InvalidLine as error:
            reason = str(error).removesuffix(".")
            raise CommandError(f"{file}, {reason}. Nothing was imported.") from error
        self.stdout.write(
            self.style.SUCCESS(
                f"Recorded {counts.recorded} outcomes; {counts.unchanged} had been recorded before."
            )
        )

    def _record(self, lines: TextIO, *, is_csv: bool) -> RecordedCounts:
        recorded = unchanged = 0
        # disable=None: no progress bar unless the output is a terminal.
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
                    counts = record_outcomes([report for _, report in chunk])
                except OutcomesRefused as error:
                    fault = error.faults[0]
                    reason = f"{fault.field}: {fault.message}"
                    raise InvalidLine(chunk[fault.index][0], reason) from error
                recorded, unchanged = recorded + counts.recorded, unchanged + counts.unchanged
        return RecordedCounts(recorded, unchanged)


def _reports(lines: TextIO, *, is_csv: bool) -> Iterator[tuple[int, Report]]:
    for number, row in read_rows(lines, is_csv=is_csv):
        try:
            # A CSV row is always a dict.
            fields = _with_numbers(row) if is_csv and isinstance(row, dict) else row
            yield number, parse_report(fields)
        except InvalidReport as error:
            reason = f"{error.field}: {error}" if error.field else str(error)
            raise InvalidLine(number, reason) from error


def _with_numbers(cells: Mapping[str, str]) -> dict[str, object]:
    """CSV cells with numbers parsed. Text that is not a number stays, and the report is refused."""
    fields: dict[str, object] = dict(cells)
    for name in ("prediction_id", "value"):
        if name in cells:
            try:
                fields[name] = parse_json(cells[name].encode())
            except ValueError:
                continue
    return fields
