"""Deletes old predictions: those before a given time, or those past their model's retention."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from predictions.models import IdempotencyKey, Prediction
from predictions.models.predictions import PredictionQuerySet
from predictions.partitions.catalog import is_partitioned
from predictions.retention.answers import delete_unanswered_keys
from predictions.retention.holds import holds_in_force, without_held
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.database import clock
from registry.models import AuditEvent, ModelVersion, RegisteredModel

# Small chunks: a new prediction never waits for longer than one of them takes.
CHUNK_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Due:
    """What may be deleted: the predictions before a time, of one version or of one model's."""

    before: datetime
    model: str = ""
    model_id: int | None = None

    def parts(self) -> Iterator[PredictionQuerySet]:
        """The rows, in parts that an index yields oldest first."""
        if not self.model:
            yield Prediction.objects.matching(created_before=self.before, model_id=self.model_id)
            return
        for version_id in ModelVersion.objects.filter(name=self.model).values_list("pk", flat=True):
            yield Prediction.objects.matching(created_before=self.before, model_id=version_id)

    def count(self) -> int:
        """How many predictions there are to delete, shadows of younger ones included."""
        with transaction.atomic():
            holds = holds_in_force()
            return sum(without_held(rows, holds).count() for rows in self.parts())

    def count_held(self) -> int:
        """How many predictions are old enough, but kept by a legal hold."""
        with transaction.atomic():
            holds = holds_in_force()
            return sum(rows.count() - without_held(rows, holds).count() for rows in self.parts())


def past_retention() -> list[Due]:
    """What is due by the retention of each model that has one."""
    now = clock.now()
    return [
        Due(now - timedelta(days=days), model=name)
        for name, days in RegisteredModel.objects.filter(retention_days__isnull=False)
        .order_by("name")
        .values_list("name", "retention_days")
        if days is not None
    ]


def after_grace(due: Due) -> Due:
    """What of it must not wait any longer for its whole partition to be due.

    That is everything if the log is a plain table.
    """
    if not settings.RETENTION_GRACE_DAYS or not is_partitioned(connection):
        return due
    return replace(due, before=due.before - timedelta(days=settings.RETENTION_GRACE_DAYS))


def prune(
    due: Due,
    progress: Callable[[int], object] = lambda rows: None,
    *,
    may_continue: Callable[[], bool] = lambda: True,
    accessor: Accessor = SYSTEM,
) -> int:
    """Delete what is due, in short transactions; returns the number of predictions, with shadows.

    Their outcomes, results of replays and idempotency keys go with them. What a legal hold keeps
    stays. Calls `progress` with numbers of rows, in the transactions that delete them, and ends
    early if `may_continue` says so.
    """
    deleted = 0
    for rows in due.parts():
        while may_continue() and (count := _delete_oldest(rows, progress)):
            deleted += count
    # A key is as old as its predictions, and lives this much longer.
    latest_expiry = due.before + timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)
    delete_unanswered_keys(Q(expires_at__lte=latest_expiry))
    if deleted:
        audit.record(
            AuditEvent.Action.PRUNED,
            accessor,
            model=due.model,
            target="predictions" if due.model_id is None else f"predictions of {due.model_id}",
            details={"before": due.before.isoformat(), "predictions": deleted},
        )
    return deleted


def delete_expired_keys() -> None:
    """Expired keys are useless, however old their predictions are."""
    IdempotencyKey.objects.filter(expires_at__lte=clock.now()).delete()


def _delete_oldest(rows: PredictionQuerySet, progress: Callable[[int], object]) -> int:
    """Delete a chunk; returns the number of deleted predictions, their shadows included."""
    with transaction.atomic():
        # Locked first: a new row that refers to one of the predictions waits, and then fails.
        # Otherwise it could appear after the referring rows are deleted but before the prediction
        # is.
        free = without_held(rows, holds_in_force())
        locked = free.select_for_update().order_by("created_at", "id")
        keys = list(locked.values_list("pk", flat=True)[:CHUNK_ROWS])
        counts = Prediction.objects.filter(pk__in=keys).delete()[1]
        count = counts.get(Prediction._meta.label, 0)
        if count:
            progress(count)
    return count
