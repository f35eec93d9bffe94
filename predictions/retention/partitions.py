"""Drops partitions of the log all of whose rows are due."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q

from predictions.models import Prediction, StaleHour
from predictions.models.predictions import PredictionQuerySet
from predictions.partitions import dropping
from predictions.partitions.catalog import Partition
from predictions.partitions.discarding import discard_leftovers, find_leftovers
from predictions.partitions.errors import PartitionsUnavailable, TableBusy
from predictions.partitions.locking import attempt, exclusively
from predictions.retention.answers import delete_unanswered_keys
from predictions.retention.holds import holds_in_force, keeps_any
from predictions.retention.pruning import CHUNK_ROWS, Due
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.models import AuditEvent, ModelVersion

logger = logging.getLogger(__name__)

# Called with a partition before its first row is deleted. It may raise.
Archive = Callable[[Partition, PredictionQuerySet], object]


class Kept(Exception):
    """A legal hold or a row that is not due keeps the partition, or the work was stopped."""


def drop_due(
    parts: Sequence[Due],
    *,
    archive: Archive | None = None,
    may_continue: Callable[[], bool] = lambda: True,
    committing: Callable[[int], object] = lambda rows: None,
    accessor: Accessor = SYSTEM,
) -> int:
    """Drop the partitions whose newest row of each version is due; how many predictions they had.

    What refers to their rows goes first: outcomes, results of replays, and shadows in other
    partitions. A partition with a row under a legal hold, with a version that is not due, or that
    is in use, stays as it is, and its rows can still be deleted one by one. Does nothing for a
    plain table. Calls `committing` with the number of predictions so far in each transaction that
    drops a partition; such a transaction may be repeated.
    """
    candidates, dropped = _candidates() if parts else [], 0
    cuts = _cuts(parts) if candidates else {}
    for partition in candidates:
        if not may_continue():
            break
        newest = dropping.newest_by_version(partition)
        if not _is_due(newest, cuts):
            continue
        try:
            with exclusively():
                dropped += _drop(
                    *(partition, cuts, archive, may_continue),
                    committing=partial(_commit_total, committing, dropped),
                    accessor=accessor,
                )
        except (Kept, PartitionsUnavailable, TableBusy) as error:
            logger.info("The partition %s is kept for now: %s", partition.name, error)
        except (IntegrityError, OperationalError) as error:
            # Too slow, or somebody has just reported an outcome of one of its rows, for instance.
            logger.warning("The partition %s cannot be dropped: %s", partition.name, error)
        else:
            if newest:
                _delete_keys(max(newest.values()))
    return dropped


def _discard_earlier() -> None:
    """Drop the tables that earlier calls have taken out of the log, but could not drop."""
    if not find_leftovers():
        return
    try:
        with exclusively():
            _discard()
    except PartitionsUnavailable as error:
        logger.info("What was taken out of the log is dropped later: %s", error)


def _discard() -> None:
    """Drop the tables that were taken out of the log. If that fails, the next call does it."""
    try:
        discard_leftovers()
    except (TableBusy, OperationalError) as error:
        logger.warning("What was taken out of the log is dropped later: %s", error)


def _candidates() -> Sequence[Partition]:
    """The partitions that get no more rows. What earlier calls have left over is dropped first."""
    try:
        found = dropping.closed_partitions()
    except PartitionsUnavailable as error:
        logger.warning("No partition is dropped: %s", error)
        return []
    if found is None:
        return []
    _discard_earlier()
    return found


def _commit_total(committing: Callable[[int], object], earlier: int, count: int) -> None:
    committing(earlier + count)


def _cuts(parts: Sequence[Due]) -> Mapping[int, datetime]:
    """Before which time the rows of each version are due, by the version's id."""
    cuts: dict[int, datetime] = {}
    for part in parts:
        versions = ModelVersion.objects.all()
        if part.model:
            versions = versions.filter(name=part.model)
        if part.model_id is not None:
            versions = versions.filter(pk=part.model_id)
        for pk in versions.values_list("pk", flat=True):
            cuts[pk] = max(part.before, cuts.get(pk, part.before))
    return cuts


def _is_due(newest: Mapping[int, datetime], cuts: Mapping[int, datetime]) -> bool:
    return all(pk in cuts and made_at < cuts[pk] for pk, made_at in newest.items())


def _drop(
    partition: Partition,
    cuts: Mapping[int, datetime],
    archive: Archive | None,
    may_continue: Callable[[], bool],
    committing: Callable[[int], object],
    accessor: Accessor,
) -> int:
    with transaction.atomic():
        _require_free(partition)
    rows = _rows(partition)
    if archive is not None:
        archive(partition, rows)
    while _delete_referring(partition):
        if not may_continue():
            raise Kept("the work was stopped")
    counts, hours = dropping.rows_by_version(partition), list(dropping.hours_of(partition))

    def change() -> None:
        dropping.keep_unchanged(partition)
        _require_free(partition)
        if not _is_due(dropping.newest_by_version(partition), cuts):
            raise Kept("a row of it is not due")
        StaleHour.objects.mark(hours)
        if counts:
            _record(partition, counts, cuts, accessor)
            committing(sum(counts.values()))
        dropping.drop(partition)

    attempt(change, tables=[partition.name])
    _discard()
    return sum(counts.values())


def _rows(partition: Partition) -> PredictionQuerySet:
    return Prediction.objects.filter(_within("pk", partition))


def _within(column: str, partition: Partition) -> Q:
    ids = Q(**{f"{column}__lt": partition.end_id})
    if partition.first_id is not None:
        ids &= Q(**{f"{column}__gte": partition.first_id})
    return ids


def _require_free(partition: Partition) -> None:
    """Raise Kept if a legal hold keeps a row of the partition, or a shadow of one.

    In a transaction; no hold is placed before it ends.
    """
    for hold in holds_in_force():
        if keeps_any(hold, _within("pk", partition), _within("primary", partition)):
            raise Kept(f"{hold} keeps {hold.what}")


def _delete_referring(partition: Partition) -> int:
    """Delete a chunk of what refers to the partition's rows; how many rows."""
    with transaction.atomic():
        _require_free(partition)
        if deleted := dropping.delete_outcomes_and_results(partition, CHUNK_ROWS):
            return deleted
        shadows = Prediction.objects.filter(_within("primary", partition))
        others = shadows.exclude(_within("pk", partition)).select_for_update().order_by("primary")
        keys = list(others.values_list("pk", flat=True)[:CHUNK_ROWS])
        return Prediction.objects.filter(pk__in=keys).delete()[0]


def _record(
    partition: Partition,
    counts: Mapping[int, int],
    cuts: Mapping[int, datetime],
    accessor: Accessor,
) -> None:
    """An event for each model, as when its rows are deleted one by one."""
    by_model: dict[str, int] = {}
    before: dict[str, datetime] = {}
    names = dict(ModelVersion.objects.filter(pk__in=counts).values_list("pk", "name"))
    for pk, count in counts.items():
        name = names[pk]
        by_model[name] = by_model.get(name, 0) + count
        before[name] = cuts[pk]
    for name, count in sorted(by_model.items()):
        audit.record(
            AuditEvent.Action.PRUNED,
            accessor,
            model=name,
            target="predictions",
            details={
                "before": before[name].isoformat(),
                "predictions": count,
                "partition": partition.name,
            },
        )


def _delete_keys(newest: datetime) -> None:
    # A key is as old as its predictions, and lives this much longer.
    latest_expiry = newest + timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)
    delete_unanswered_keys(Q(expires_at__lte=latest_expiry))
