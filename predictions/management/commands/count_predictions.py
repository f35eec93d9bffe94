import argparse
import os
import time
from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from predictions.evaluation.counting.work import count_due
from predictions.following import LogRestored
from predictions.models import StaleHour

# Serving has priority.
NICENESS = 10


class Command(BaseCommand):
    help = (
        "Count the predictions of versions that have a reference by the hour, as `manage.py work`"
        " does every minute. It can be interrupted and run again at any time, also beside others:"
        " each prediction is counted once."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--max-seconds", type=float, metavar="S", help="Stop after this time, between steps."
        )

    def run_from_argv(self, argv: list[str]) -> None:
        # Not in handle(): call_command would lower the priority of the caller's process.
        with suppress(OSError):
            os.nice(NICENESS)
        super().run_from_argv(argv)

    def handle(self, *, max_seconds: float | None, **options: object) -> None:
        started, rows = time.monotonic(), 0
        stop_at = None if max_seconds is None else started + max_seconds
        with tqdm(unit=" rows", desc="Counted", file=self.stderr, disable=None) as progress:

            def count(n_rows: int) -> None:
                nonlocal rows
                rows += n_rows
                progress.update(n_rows)

            try:
                count_due(lambda: stop_at is None or time.monotonic() < stop_at, count)
            except LogRestored as error:
                raise CommandError(str(error)) from error
        seconds = time.monotonic() - started
        self.stdout.write(f"Counted {rows:,} rows in {seconds:.2f} s.")
        if remaining := StaleHour.objects.count():
            self.stdout.write(f"{remaining:,} hours must still be counted.")
