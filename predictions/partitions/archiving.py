"""Exports of partitions that are kept in their place, read back before the partition is dropped."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Sum

from predictions.export import runner
from predictions.export.destinations import open_destination
from predictions.export.destinations.base import Destination, DestinationUnavailable
from predictions.export.formats import FormatUnavailable
from predictions.following import LogRestored
from predictions.models.predictions import PredictionQuerySet
from predictions.partitions.catalog import Partition
from predictions.partitions.errors import ArchiveFailed
from registry.exact_json.values import JSONObject
from registry.object_storage import urls

PART_ROWS = 1_000_000
# For transactions that are open.
MAX_WAIT_SECONDS = 30.0

Archive = Callable[[Partition, PredictionQuerySet], None]


def archive_to(address: str) -> Archive | None:
    """A function that exports a partition's rows to a folder or bucket; None without an address.

    The rows of each month are an export of their own, with a manifest, as Parquet at
    `partition=NAME/year=YYYY/month=MM/`. An interrupted one is continued. Raises ArchiveFailed
    unless everything was read back and is the same as in the log.
    """
    if not address:
        return None

    def archive(partition: Partition, rows: PredictionQuerySet) -> None:
        with _failures(partition):
            for month, end in _months(*partition.times()):
                within = rows.filter(created_at__gte=month, created_at__lt=end)
                if not within.exists():
                    continue
                folder = f"partition={partition.name}/year={month.year}/month={month.month:02}"
                place = _open(f"{address.rstrip('/')}/{folder}")
                with place.lock():
                    manifest = _export(place, within, partition, month)
                    _compare(place, manifest, within)

    return archive


@contextmanager
def _failures(partition: Partition) -> Iterator[None]:
    try:
        yield
    except (
        DestinationUnavailable,
        FormatUnavailable,
        LogRestored,
        OSError,
        runner.ExportTaken,
        runner.OtherExport,
    ) as error:
        raise ArchiveFailed(f"{partition.name} cannot be archived: {error}") from error


def _months(
    oldest: datetime | None, newest: datetime | None
) -> Iterator[tuple[datetime, datetime]]:
    if oldest is None or newest is None:
        return
    month = oldest.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month <= newest:
        end = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
        yield month, end
        month = end


def _open(address: str) -> Destination:
    if not urls.is_url(address):
        Path(address).parent.mkdir(parents=True, exist_ok=True)
    return open_destination(address)


def _export(
    place: Destination, rows: PredictionQuerySet, partition: Partition, month: datetime
) -> JSONObject:
    plan = runner.plan_export(
        rows,
        filter={"partition": partition.name, "month": f"{month:%Y-%m}"},
        format="parquet",
        inputs=None,
        part_rows=PART_ROWS,
        start=0,
        mlapi=settings.VERSION,
        max_wait_seconds=MAX_WAIT_SECONDS,
    )
    if manifest := runner.find_manifest(place, plan):
        return manifest
    plan, receipts = runner.resume_or_start(place, plan)
    return runner.run(rows, plan, receipts, place, lambda count: None)


def _compare(place: Destination, manifest: JSONObject, rows: PredictionQuerySet) -> None:
    """Read the files back; raise ArchiveFailed unless they are what was written, and have the ids
    that the log has.
    """
    count = total = 0
    for part in manifest["parts"]:
        content = place.read(part["name"])
        if content is None or hashlib.sha256(content).hexdigest() != part["sha256"]:
            raise ArchiveFailed(f"{place}: {part['name']} is not what was written")
        part_count, part_total = _ids_in(content)
        count, total = count + part_count, total + part_total
    stored = rows.order_by().aggregate(count=Count("pk"), total=Sum("pk"))
    if (count, total) != (stored["count"], stored["total"] or 0):
        raise ArchiveFailed(
            f"{place} has {count} predictions and the log {stored['count']}, or not the same ones:"
            " remove the archive to have it made again"
        )


def _ids_in(content: bytes) -> tuple[int, int]:
    """How many ids a file has, and their sum."""
    # On first use, as in the formats: pyarrow is heavy, and optional.
    parquet = import_module("predictions.export.formats.parquet")
    count, total = parquet.count_and_sum(io.BytesIO(content), "id")
    return int(count), int(total)
