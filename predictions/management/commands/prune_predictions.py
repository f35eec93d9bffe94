import argparse
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from tqdm import tqdm

from predictions.models import IdempotencyKey, Prediction
from registry.models import ModelVersion

# Short transactions: a prediction never waits for more than one chunk.
CHUNK_ROWS = 5000


class Command(BaseCommand):
    help = "Delete predictions made before a moment, in short transactions."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--before",
            required=True,
            type=_moment,
            metavar="WHEN",
            help="A date or an ISO 8601 time; without a zone it is UTC.",
        )
        parser.add_argument(
            "--model-id", type=int, metavar="ID", help="Only predictions of this version."
        )

    def handle(self, *, before: datetime, model_id: int | None, **options: Any) -> None:
        if model_id is not None and not ModelVersion.objects.filter(pk=model_id).exists():
            raise CommandError(f"Model {model_id} not found")
        rows = Prediction.objects.matching(created_before=before, model_id=model_id)
        deleted = 0
        with tqdm(unit=" rows", desc="Deleted", file=self.stderr, disable=None) as progress:
            # Oldest first and by index: each chunk costs the same however many there are.
            while count := _delete_oldest(rows):
                deleted += count
                progress.update(count)
        # They serve nobody any more, whatever their predictions' age.
        IdempotencyKey.objects.filter(expires_at__lte=timezone.now()).delete()
        self.stdout.write(
            self.style.SUCCESS(f"Deleted {deleted} predictions made before {before.isoformat()}.")
        )


def _delete_oldest(rows: QuerySet[Prediction]) -> int:
    """Delete a chunk; how many predictions went, shadows among them."""
    with transaction.atomic():
        # Locked first: what refers to a prediction, and is written meanwhile, waits and then finds
        # it gone, instead of appearing between the deletion of its kind and the prediction's.
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
        raise argparse.ArgumentTypeError(f"{text!r} is no date or ISO 8601 time")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
