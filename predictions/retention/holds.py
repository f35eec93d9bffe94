"""Legal holds: placing and releasing them, and what they keep from being deleted."""

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from predictions.models import LegalHold, LegalHoldNotFound, Prediction
from predictions.models.predictions import PredictionQuerySet
from predictions.retention.errors import HeldByLaw, LegalHoldReleased
from predictions.retention.pseudonyms import pseudonym_of, require_discreet
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.database import statements
from registry.models import AuditEvent, ModelVersion, RegisteredModel

# Keeps this advisory lock apart from other applications' locks in the same database.
LOCK_ID = 0x6D6C6868


def place(
    *,
    registered_model: RegisteredModel | None = None,
    subject: str | None = None,
    reason: str,
    accessor: Accessor = SYSTEM,
) -> LegalHold:
    """Hold the predictions of a model, of a subject, or of both.

    Waits for deletions that have begun. After it returns, none deletes what is held. Raises
    NamesSubject.
    """
    _require_discreet(subject, reason)
    with transaction.atomic():
        _lock("pg_advisory_xact_lock")
        hold = LegalHold.objects.create(
            registered_model=registered_model,
            subject=subject,
            reason=reason,
            created_by=accessor.user,
        )
        _record(AuditEvent.Action.HOLD_PLACED, hold, accessor, reason)
    return hold


def release(hold_id: int, *, reason: str, accessor: Accessor = SYSTEM) -> LegalHold:
    """End a hold; raises LegalHoldNotFound, LegalHoldReleased or NamesSubject."""
    with transaction.atomic():
        hold = LegalHold.objects.select_for_update().filter(pk=hold_id).first()
        if hold is None:
            raise LegalHoldNotFound(f"Legal hold {hold_id} not found")
        if hold.released_at is not None:
            raise LegalHoldReleased(f"{hold} was released at {hold.released_at.isoformat()}")
        _require_discreet(hold.subject, reason)
        hold.released_at, hold.released_by = timezone.now(), accessor.user
        hold.release_reason = reason
        hold.save(update_fields=["released_at", "released_by", "release_reason"])
        _record(AuditEvent.Action.HOLD_RELEASED, hold, accessor, reason)
    return hold


def holds_in_force() -> Sequence[LegalHold]:
    """The active holds, in a transaction that deletes; none is placed before it ends."""
    # On SQLite, a transaction has the database for itself.
    _lock("pg_advisory_xact_lock_shared")
    return list(LegalHold.objects.active().select_related("registered_model").order_by("pk"))


def without_held(rows: PredictionQuerySet, holds: Sequence[LegalHold]) -> PredictionQuerySet:
    """Those of the rows that can be deleted without anything that a hold keeps."""
    for hold in holds:
        rows = rows.exclude(_condition(hold))
    return rows


def require_free(rows: PredictionQuerySet, holds: Sequence[LegalHold]) -> None:
    """Raise HeldByLaw if a hold keeps any of the rows, or of their shadows."""
    for hold in holds:
        if rows.filter(_condition(hold)).exists():
            raise HeldByLaw(f"{hold} keeps {hold.what}: {hold.reason}")


def keeps_any(hold: LegalHold, rows: Q, shadows: Q) -> bool:
    """Whether a hold keeps one of the rows, or one of these, which are all of their shadows."""
    # One after the other: each has an index.
    held = Prediction.objects.filter(_own_condition(hold))
    return held.filter(rows).exists() or held.filter(shadows).exists()


def _own_condition(hold: LegalHold) -> Q:
    """What a hold names, without what is deleted only together with it."""
    condition = Q() if hold.subject is None else Q(subject=hold.subject)
    if hold.registered_model is None:
        return condition
    # Read first: a join would keep the rows from being locked by index order.
    versions = ModelVersion.objects.filter(name=hold.registered_model.name)
    return condition & Q(model_id__in=list(versions.values_list("pk", flat=True)))


def _condition(hold: LegalHold) -> Q:
    condition = _own_condition(hold)
    if hold.registered_model is None:
        return condition
    # Shadows are deleted with the row that they copy, and may be of a model that is held alone.
    shadows = Prediction.objects.filter(condition, primary=OuterRef("pk"))
    return condition | Q(Exists(shadows))


def _require_discreet(subject: str | None, reason: str) -> None:
    if subject is not None:
        require_discreet("subject", subject, reason)


def _lock(function: str) -> None:
    if connection.vendor == "postgresql":
        statements.fetch(f"SELECT {function}(%s)", [LOCK_ID])


def _record(action: AuditEvent.Action, hold: LegalHold, accessor: Accessor, reason: str) -> None:
    # The trail is kept for ever, so it must not name the subject.
    subject = {} if hold.subject is None else {"subject_pseudonym": pseudonym_of(hold.subject)}
    audit.record(
        action,
        accessor,
        model=hold.registered_model.name if hold.registered_model else "",
        target=str(hold),
        details={"reason": reason, **subject},
    )
