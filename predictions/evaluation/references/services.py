"""Sets the reference of a version: from rows of a file, or from a window of the log."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils.timezone import now

from predictions.evaluation.counting import hours, ledger
from predictions.evaluation.counting.log import LogColumns, chunks, joined
from predictions.evaluation.counting.plans import COUNTED_FIELDS
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.references.building import (
    ComparedVersion,
    anonymous,
    build_profile,
    evenly_spaced,
)
from predictions.evaluation.references.errors import ReferenceRefused
from predictions.evaluation.references.tables import Rows
from predictions.models import HourCounts, Outcome, Prediction, Reference
from predictions.models.predictions import PredictionQuerySet
from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.models import AuditEvent, ModelVersion

# Fewer say too little about what is usual.
MIN_LOG_ROWS = 1000
# More would need too much memory, and make a reference hardly better.
MAX_ROWS = 1_000_000
OUTCOME_ROWS = 5000
_FIELDS = (*COUNTED_FIELDS, "output", "metadata")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of a reference come from: a file, or a window of the log."""

    since: datetime | None = None
    until: datetime | None = None
    description: str = ""

    @property
    def kind(self) -> Reference.Source:
        return Reference.Source.FILE if self.since is None else Reference.Source.LOG


def set_from_log(
    version: ModelVersion,
    *,
    since: datetime,
    until: datetime,
    description: str = "",
    accessor: Accessor = SYSTEM,
    max_rows: int = MAX_ROWS,
    max_bytes: float = math.inf,
    progress: Callable[[int], object] = lambda rows: None,
) -> Reference:
    """Freeze what the version's predictions in a window look like; their answers are those of the
    log, their labels the outcomes that are known by now.

    Raises ReferenceRefused for less than MIN_LOG_ROWS rows, more than `max_rows`, more than
    `max_bytes` of inputs and answers, or a window that has not ended.
    """
    compared = ComparedVersion(version)
    if until > now():
        raise ReferenceRefused("The window must have ended, so that it does not change any more")
    rows = Prediction.objects.filter(model=version, created_at__gte=since, created_at__lt=until)
    columns = _read(rows, max_rows, max_bytes, progress)
    answered = replace(
        columns.as_rows(with_outputs=True),
        subjects=anonymous(columns["subject"]),
        metadata=columns["metadata"],
    )
    return set_reference(
        compared,
        answered,
        _outcomes(compared, columns["id"]),
        source=Source(since, until, description),
        # Not the inputs: what is deleted from the log must not be kept here.
        background=evenly_spaced(columns["id"]),
        accessor=accessor,
    )


def _read(
    rows: PredictionQuerySet, max_rows: int, max_bytes: float, progress: Callable[[int], object]
) -> LogColumns:
    """The rows in the order of time; raises ReferenceRefused for too many, or too few."""
    parts: list[LogColumns] = []
    n_rows = size_bytes = 0
    for chunk in chunks(rows, fields=_FIELDS, max_rows=max_rows + 1):
        parts.append(chunk.columns)
        n_rows += len(chunk.columns)
        size_bytes += chunk.size_bytes
        if size_bytes > max_bytes:
            message = f"The window has more than {max_bytes} bytes of inputs and answers"
            raise ReferenceRefused(f"{message}: choose a shorter one")
        progress(len(chunk.columns))
    if n_rows > max_rows:
        raise ReferenceRefused(f"The window has more than {max_rows} rows: choose a shorter one")
    if n_rows < MIN_LOG_ROWS:
        message = f"The window has {n_rows} rows; a reference needs {MIN_LOG_ROWS} or more"
        raise ReferenceRefused(message)
    return joined(parts, _FIELDS)


def set_reference(
    compared: ComparedVersion,
    rows: Rows,
    labels: Sequence[object] | None,
    *,
    source: Source,
    background: list[Any],
    accessor: Accessor = SYSTEM,
) -> Reference:
    """Make the profile of these rows the reference in force, and let all hours be counted by it.

    The same profile again changes nothing: the same rows, and segments of monitors. Raises
    ReferenceRefused.
    """
    profile = build_profile(compared, rows, labels)
    digest = profile.digest
    if compared.is_masked:
        # An input without its sensitive values could not be scored.
        background = []
    with ledger.changing():
        latest = Reference.objects.filter(model=compared.version).order_by("-id").first()
        if latest is not None and latest.digest == digest:
            return latest
        reference = _create(compared, profile, digest, background, source, accessor)
        # By other bins, which can be compared with nothing any more.
        HourCounts.objects.filter(reference__model=compared.version).delete()
        hours.mark_versions([compared.version.pk])
    return reference


def _create(
    compared: ComparedVersion,
    profile: Profile,
    digest: str,
    background: list[Any],
    source: Source,
    accessor: Accessor,
) -> Reference:
    reference = Reference.objects.create(
        model=compared.version,
        source=source.kind,
        description=source.description,
        since=source.since,
        until=source.until,
        rows=profile.rows,
        labelled_rows=profile.labelled_rows,
        profile=profile.as_json(),
        background=background,
        digest=digest,
        created_by=accessor.user,
    )
    audit.record(
        AuditEvent.Action.REFERENCE_SET,
        accessor,
        model=compared.version.name,
        target=f"reference of {compared.version}",
        details={"source": str(source.kind), "rows": profile.rows, "digest": digest},
    )
    return reference


def _outcomes(compared: ComparedVersion, prediction_ids: Sequence[int]) -> list[object] | None:
    """The latest outcome of each prediction; None if there are none at all."""
    if compared.task is None:
        return None
    labels: dict[int, object] = {}
    for start in range(0, len(prediction_ids), OUTCOME_ROWS):
        outcomes = Outcome.objects.filter(
            prediction__in=prediction_ids[start : start + OUTCOME_ROWS]
        ).order_by("pk")
        # Later ones replace the earlier: they are corrections.
        for prediction_id, value, label in outcomes.values_list("prediction", "value", "label"):
            labels[prediction_id] = label if compared.task.is_classification else value
    return [labels.get(pk) for pk in prediction_ids] if labels else None
