"""Writes the audit trail to a file."""

import os
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.audit.export import Summary, lines_after


def _event_id(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) >= 2**63:
        raise ArgumentTypeError("must be the id of an event, 0 or more")
    return int(text)


class Command(BaseCommand):
    help = (
        "Write audit events as NDJSON, in the order of their ids. Events of the last five minutes"
        " are left for the next time: run it again with --after to go on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="A new file, or - for the standard output.")
        parser.add_argument(
            "--after", type=_event_id, default=0, help="Begin after the event with this id."
        )

    def handle(self, *args: Any, file: str, after: int, **options: Any) -> None:
        summary = Summary(after)
        if file == "-":
            _write(sys.stdout.buffer, summary)
        else:
            _write_file(Path(file), summary)
        self.stderr.write(
            f"{summary.events} events, SHA-256 {summary.sha256}. To go on: --after"
            f" {summary.last_id}"
        )


def _write_file(path: Path, summary: Summary) -> None:
    """Write a new file, which has its name once it is complete."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        if path.exists():
            raise CommandError(f"{path} exists already")
        with unfinished.open("wb") as output:
            _write(output, summary)
            os.fsync(output.fileno())
        # Unlike a rename, this does not replace a file that was created in the meantime.
        os.link(unfinished, path)
        unfinished.unlink()
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error


def _write(output: BinaryIO, summary: Summary) -> None:
    output.writelines(lines_after(summary.last_id, summary))
    output.flush()
