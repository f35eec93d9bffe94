"""Versions that end the process that scores them.

A version in whose call a worker died is a *suspect*: from then on it is scored in a process of its
own, so that the next crash names its version and costs no other callers. At the second crash that
is certainly a version's own it is *quarantined*: predictions are refused until someone releases it.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F
from django.utils import timezone

from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.isolation.black_box import Death, read_death
from registry.loading.errors import ModelQuarantined
from registry.metrics import MODEL_CRASHES
from registry.models import AuditEvent, ModelVersion

logger = logging.getLogger(__name__)

MAX_CRASHES = 2


def require_released(version: ModelVersion) -> None:
    """Raise ModelQuarantined, with the reason, for a version in quarantine."""
    if version.quarantined_at is not None:
        raise ModelQuarantined(
            f"Model {version.pk} is in quarantine: {version.quarantine_reason}. An administrator "
            f"can release it: manage.py release_model {version}"
        )


def count_crash(version_id: int, reason: str) -> bool:
    """Count a crash that was certainly this version's, and quarantine it at the second; whether it
    is in quarantine now.

    Never raises: whoever notices a crash has callers to answer.
    """
    row = ModelVersion.objects.filter(pk=version_id)
    try:
        row.update(crashes=F("crashes") + 1, is_suspect=True)
        is_new = row.filter(crashes__gte=MAX_CRASHES, quarantined_at=None).update(
            quarantined_at=timezone.now(),
            quarantine_reason=f"its process {reason}, for the second time",
        )
        version = row.first()
    except (DatabaseError, InterfaceError) as error:
        logger.error("A crash of version %d could not be counted: %s", version_id, error)
        return False
    if version is None:
        return True
    MODEL_CRASHES.labels(str(version)).inc()
    logger.error("The process that scored %s %s (crash %d)", version, reason, version.crashes)
    if is_new:
        logger.error(
            "%s is in quarantine and answers no predictions; release it with "
            "manage.py release_model %s",
            version,
            version,
        )
    return version.quarantined_at is not None


def suspect(version_ids: Collection[int]) -> None:
    """Score these versions in processes of their own from now on. Never raises."""
    try:
        suspects = ModelVersion.objects.filter(pk__in=version_ids)
        suspects.update(is_suspect=True)
        names = ", ".join(map(str, suspects.order_by("pk")))
    except (DatabaseError, InterfaceError) as error:
        logger.error("The suspects %s could not be noted: %s", version_ids, error)
        return
    logger.error("Scored in processes of their own from now on, since a worker failed: %s", names)


def note_death(black_box: Path) -> None:
    """Draw the conclusions from the death of the worker with this black box, once.

    A version that alone was in a call is counted a crash, if the worker crashed in a call; of
    several, any may have ended it.
    """
    match read_death(black_box):
        case Death([], _):
            return
        case Death([version_id], True) if _counts(version_id):
            count_crash(version_id, "was a worker, and crashed")
        case Death(version_ids, _):
            suspect(version_ids)


def _counts(version_id: int) -> bool:
    """Several workers may have died at once, before anyone suspected the version: that is one.

    Where suspects stay in the workers, every death counts.
    """
    if settings.MODEL_ISOLATION == "never":
        return True
    try:
        return ModelVersion.objects.filter(pk=version_id, is_suspect=False).exists()
    except (DatabaseError, InterfaceError):
        return False


@transaction.atomic
def release(
    version: ModelVersion, *, is_trusted: bool = False, accessor: Accessor = SYSTEM
) -> bool:
    """End the quarantine and forget the crashes; whether there was anything to end.

    The version stays a suspect, and is scored in a process of its own, unless it is trusted.
    """
    rows = ModelVersion.objects.filter(pk=version.pk)
    changed = rows.filter(crashes__gt=0).update(
        crashes=0, quarantined_at=None, quarantine_reason=""
    )
    if is_trusted:
        changed += rows.filter(is_suspect=True).update(is_suspect=False)
    if changed:
        audit.record_version(
            AuditEvent.Action.VERSION_CHANGED,
            accessor,
            version,
            changed=["quarantine"],
            trusted=is_trusted,
        )
    return bool(changed)
