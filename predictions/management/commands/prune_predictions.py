import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime
from tqdm import tqdm

from predictions.models import LegalHold
from predictions.partitions.archiving import archive_to
from predictions.partitions.errors import ArchiveFailed
from predictions.retention import partitions, pruning
from predictions.retention.pruning import Due
from registry.models import ModelVersion


class Command(BaseCommand):
    help = (
        "Delete predictions made before a given time, or those past the retention of their model,"
        " in short transactions. What is under a legal hold is kept."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "--before",
            type=moment,
            metavar="WHEN",
            help="A date or an ISO 8601 time; UTC unless it has a time zone.",
        )
        which.add_argument(
            "--due",
            action="store_true",
            help="What is older than the retention_days of its registered model.",
        )
        parser.add_argument(
            "--model-id",
            type=int,
            metavar="ID",
            help="With --before: delete only predictions of this version.",
        )
        parser.add_argument(
            "--export-first",
            metavar="DEST",
            default=settings.RETENTION_ARCHIVE,
            help="Export partitions to this folder or bucket, and read them back, before they are"
            " dropped whole. By default RETENTION_ARCHIVE.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Count what would be deleted, and stop."
        )
        parser.add_argument(
            "--yes", action="store_true", help="Do not ask. Without a terminal, nobody is asked."
        )

    def handle(
        self, *, before: datetime | None, due: bool, model_id: int | None, **options: object
    ) -> None:
        if before is None and model_id is not None:
            raise CommandError("--model-id needs --before: the retention is that of a whole model.")
        if model_id is not None and not ModelVersion.objects.filter(pk=model_id).exists():
            raise CommandError(f"Model {model_id} not found")
        parts = [Due(before, model_id=model_id)] if before else pruning.past_retention()
        if not parts:
            self.stdout.write("No registered model has retention_days.")
        if options["dry_run"]:
            self._report("would be deleted", parts)
            return
        if not options["yes"] and sys.stdin.isatty():
            self._ask(parts)
        dropped = self._drop(parts, str(options["export_first"]))
        if dropped:
            self.stdout.write(self.style.SUCCESS(f"Dropped partitions of {dropped} predictions."))
        for part in parts:
            deleted = self._prune(pruning.after_grace(part) if due else part)
            self.stdout.write(self.style.SUCCESS(f"Deleted {deleted} predictions {_which(part)}."))
        pruning.delete_expired_keys()
        for hold in LegalHold.objects.active().select_related("registered_model"):
            self.stdout.write(f"{hold} keeps {hold.what}: {hold.reason}")

    def _prune(self, part: Due) -> int:
        with tqdm(unit=" rows", desc="Deleted", file=self.stderr, disable=None) as progress:
            return pruning.prune(part, progress.update)

    def _drop(self, parts: Sequence[Due], export_first: str) -> int:
        try:
            return partitions.drop_due(parts, archive=archive_to(export_first))
        except ArchiveFailed as error:
            raise CommandError(str(error)) from error

    def _report(self, what: str, parts: Sequence[Due]) -> None:
        for part in parts:
            held = part.count_held()
            kept = f"; {held} are under a legal hold" if held else ""
            self.stdout.write(f"{part.count()} predictions {_which(part)} {what}{kept}.")

    def _ask(self, parts: Sequence[Due]) -> None:
        self._report("will be deleted", parts)
        if input("Delete them? This cannot be undone. [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was deleted.")


def _which(part: Due) -> str:
    model = f"of {part.model} " if part.model else ""
    return f"{model}made before {part.before.isoformat()}"


def moment(text: str) -> datetime:
    """The time in an argument: a date or an ISO 8601 time, in UTC unless it has a time zone."""
    try:
        time = parse_datetime(text)
        if time is None and (day := parse_date(text)) is not None:
            time = datetime(day.year, day.month, day.day, tzinfo=UTC)
    except ValueError:
        time = None
    if time is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date or an ISO 8601 time")
    return time if time.tzinfo else time.replace(tzinfo=UTC)
