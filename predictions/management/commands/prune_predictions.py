import argparse
from datetime import UTC, datetime

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from tqdm import tqdm

from predictions.models import IdempotencyKey, Prediction
from registry.models import ModelVersion

# Small chunks: a new prediction never waits for longer than one of them takes.
CHUNK_ROWS = 5000


class Command(BaseCommand):
    help = "Delete predictions made before a given time, in short transactions."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--before",
            required=True,
            type=_moment,
            metavar="WHEN",
            help="A date or an ISO 8601 time; UTC unless it has a time zone.",
        )
        parser.add_argument(
            "--model-id", type=int, metavar="ID", help="Delete only predictions of this version."
        )

    def handle(self, *, before: datetime, model_id: int | None, **options: object) -> None:
        if model_id is not None and not ModelVersion.objects.filter(pk=model_id).exists():
            raise CommandError(f"Model {model_id} not found")
        rows = Prediction.objects.matching(created_before=before, model_id=model_id)
        deleted = 0
        with tqdm(unit=" rows", desc="Deleted", file=self.stderr, disable=None) as progress:
            # Oldest first, by index: each chunk costs the same in a log of any length.
            while count := _delete_oldest(rows):
                deleted += count
                progress.update(count)
        # Expired keys are useless, however old their predictions are.
        IdempotencyKey.objects.filter(expires_at__lte=timezone.now()).delete()
        self.stdout.write(
            self.style.SUCCESS(f"Deleted {deleted} predictions made before {before.isoformat()}.")
        )


def _delete_oldest(rows: QuerySet[Prediction]) -> int:
    """Delete a chunk; returns the number of deleted predictions, their shadows included."""
    with transaction.atomic():
        # Locked first: a new row that refers to one of the predictions waits, and then fails.
        # Otherwise it could appear after the referring rows are deleted but before the prediction
        # is.
        locked = rows.select_for_update().order_by("created_at", "id")
        keys = list(locked.values_list("pk", flat=True)[:CHUNK_ROWS])
        counts = Prediction.objects.filter(pk__in=keys).delete()[1]
    return counts.get(Prediction._meta.label, 0)


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)) is not None:
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date or an ISO 8601 time")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
