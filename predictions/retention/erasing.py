"""Erases what the log has about one subject, or about one reference.

Rows are deleted, not blanked: a row without its input still says when somebody asked about the
subject and what it cost, every reader of the log would have to know of such rows, and retention
deletes rows anyway. What statistics need, how many there were, is kept in the evidence.
"""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q

from predictions.evaluation.replays.report import report_of
from predictions.models import (
    Erasure,
    JobError,
    LegalHold,
    Outcome,
    Prediction,
    Replay,
    ReplayResult,
    StaleHour,
)
from predictions.models.predictions import PredictionQuerySet
from predictions.retention import holds
from predictions.retention.answers import delete_keys_of
from predictions.retention.errors import ErasureTooLarge
from predictions.retention.pseudonyms import pseudonym_of, require_discreet
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.models import AuditEvent, ModelNotFound, ModelVersion, RegisteredModel

# Of a request; the command takes a limit of its own.
MAX_ERASED_ROWS = 100_000
CHUNK_ROWS = 5000
# Reported with each erasure.
REMAINS = (
    "Backups of the database, its write-ahead log and replicas that lag behind, until they expire.",
    "Exports and copies that were made before.",
    "Log files of the service and of proxies, which have request ids, times and addresses.",
    "Counts by hour, with the salted hash of the subject, new categories and the smallest and"
    " largest numbers, until manage.py work has counted these hours again, a minute later.",
    "Reports and alerts of monitors, which may quote such values, until the retention of their"
    " model or the deletion of their monitor.",
    "References, which never change: frequent categories, numbers at the ends and quantiles of the"
    " rows, and up to 100 rows of a file.",
    "Other predictions that mention the subject in their input or metadata, without naming it as"
    " their subject or reference.",
    "The audit trail, which never changes: by the pseudonym, it says who searched for the subject.",
    "Parameters of jobs that have not ended, which may name the subject, and errors of rows of jobs"
    " that quote it, until JOB_KEEP_DAYS after their end.",
    "Predictions of the subject that are made from now on.",
)


def erase(
    *,
    kind: Erasure.Kind,
    name: str,
    model: str = "",
    reason: str,
    accessor: Accessor = SYSTEM,
    max_rows: int = MAX_ERASED_ROWS,
) -> Erasure:
    """Delete everything about a subject or reference in one transaction; returns the evidence.

    With their predictions go shadows, outcomes, results of replays and idempotency keys; reports of
    replays are computed again. Erasing again deletes nothing, and is recorded too.
    Raises ModelNotFound, NamesSubject, HeldByLaw or ErasureTooLarge.
    """
    require_discreet(str(kind), name, reason)
    with transaction.atomic():
        rows, in_force = matching_rows(kind, name, model), holds.holds_in_force()
        found = _locked(rows, max_rows)
        # Once the rows are locked, they get no more shadows.
        holds.require_free(rows, in_force)
        counts = _delete(rows, found)
        counts |= _forget_name(kind, name, model)
        erasure = Erasure.objects.create(
            kind=kind,
            pseudonym=pseudonym_of(name),
            model=model,
            reason=reason,
            counts=counts,
            created_by=accessor.user,
        )
        audit.record(
            AuditEvent.Action.ERASED,
            accessor,
            model=model,
            target=str(erasure),
            details={"kind": str(kind), "reason": reason, "counts": counts},
        )
    return erasure


def check(*, kind: Erasure.Kind, name: str, model: str = "", reason: str) -> int:
    """How many predictions `erase` would delete now; raises what it raises."""
    require_discreet(str(kind), name, reason)
    with transaction.atomic():
        rows = matching_rows(kind, name, model)
        holds.require_free(rows, holds.holds_in_force())
        count = rows.count()
    if count > MAX_ERASED_ROWS:
        raise _too_large(MAX_ERASED_ROWS)
    return count


def matching_rows(kind: Erasure.Kind, name: str, model: str = "") -> PredictionQuerySet:
    """The predictions of a subject or reference, also by one model only; raises ModelNotFound."""
    rows = Prediction.objects.filter(**{str(kind): name})
    if not model:
        return rows
    if not RegisteredModel.objects.filter(name=model).exists():
        raise ModelNotFound(f"Model {model} not found")
    # Read first: with a join, its rows would be locked as well.
    versions = ModelVersion.objects.filter(name=model).values_list("pk", flat=True)
    return rows.filter(model_id__in=list(versions))


def _locked(rows: PredictionQuerySet, max_rows: int) -> Sequence[tuple[int, int | None]]:
    """The ids of the rows and of their users; raises ErasureTooLarge.

    Locked first, as retention does: a new row that refers to one of them waits, and then fails.
    """
    locked = rows.select_for_update().order_by("created_at", "id")
    found: Sequence[tuple[int, int | None]] = list(
        locked.values_list("pk", "user_id")[: max_rows + 1]
    )
    if len(found) > max_rows:
        raise _too_large(max_rows)
    return found


def _too_large(max_rows: int) -> ErasureTooLarge:
    return ErasureTooLarge(
        f"There are more than {max_rows} predictions: use manage.py erase_subject with a larger"
        " --max-rows, or erase one model's at a time"
    )


def _delete(rows: PredictionQuerySet, found: Sequence[tuple[int, int | None]]) -> dict[str, int]:
    """Delete predictions, and what refers to them; how many rows of each kind."""
    # All at once: in chunks, two erasures could wait for each other.
    StaleHour.objects.mark_hours_of(rows)
    deleted = {Prediction: 0, Outcome: 0, ReplayResult: 0}
    n_keys, replay_ids = 0, set[int]()
    for start in range(0, len(found), CHUNK_ROWS):
        ids = [pk for pk, _ in found[start : start + CHUNK_ROWS]]
        either = Q(original__in=ids) | Q(original__primary__in=ids)
        replay_ids |= set(ReplayResult.objects.filter(either).values_list("replay", flat=True))
        counts = Prediction.objects.filter(pk__in=ids).delete_of_marked_hours()[1]
        for table in deleted:
            deleted[table] += counts.get(table._meta.label, 0)
    users = {user_id for _, user_id in found} - {None}
    if users:
        n_keys = delete_keys_of([pk for pk, _ in found], users)
    for replay in Replay.objects.with_versions().filter(pk__in=replay_ids, report__isnull=False):
        replay.report = report_of(replay)
        replay.save(update_fields=["report"])
    return {
        "predictions": deleted[Prediction],
        "outcomes": deleted[Outcome],
        "replay_results": deleted[ReplayResult],
        "replay_reports": len(replay_ids),
        "idempotency_keys": n_keys,
    }


def _forget_name(kind: Erasure.Kind, name: str, model: str) -> dict[str, int]:
    """Remove the name itself from what is kept; how many rows of each kind."""
    if kind == Erasure.Kind.REFERENCE:
        errors = JobError.objects.filter(reference=name)
        if model:
            errors = errors.filter(job__model_name=model)
        return {"job_errors": errors.delete()[0]}
    if model:
        return {}
    released = LegalHold.objects.filter(subject=name, released_at__isnull=False)
    return {"legal_holds": released.update(subject=pseudonym_of(name))}
