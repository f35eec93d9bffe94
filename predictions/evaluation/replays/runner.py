"""Replay: recorded inputs, scored with another version beside the service, and compared."""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from predictions.evaluation.agreement import Answered, compare
from predictions.evaluation.replays import results as replay_results
from predictions.evaluation.replays.report import report_of
from predictions.evaluation.replays.rescoring import Outcome, rescore
from predictions.evaluation.replays.results import Result
from predictions.models import MAX_ERROR_LENGTH, Prediction, Replay, ReplayResult
from predictions.serving.inference import Answer
from registry import loader
from registry.loader import ArtifactMissing, LoadedModel
from registry.models import ModelNotFound, ModelVersion
from registry.signatures.arrangement import InvalidInput
from registry.signatures.signature import Signature

logger = logging.getLogger(__name__)

CHUNK_ROWS = 2000
# Of wide rows fewer make a chunk: parsed JSON takes some hundred bytes a value.
CHUNK_VALUES = 500_000
# What a dimension that varies is taken for.
USUAL_LENGTH = 1000


Status = ReplayResult.Status


class Recorded(NamedTuple):
    """What a replay reads of a prediction, by its columns' names."""

    id: int
    created_at: datetime
    input_data: Any
    prediction: float | None
    output: Any


class ReplayTooLarge(Exception):
    """More rows than are replayed while a caller waits; the message names the command."""


class ReplayBusy(Exception):
    """This process is replaying for somebody else; the message is for the caller."""

    retry_after = 5


class ReplayTaken(Exception):
    """Another process goes on with this replay, or has completed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall be replayed; see Replay for which rows these are."""

    from_version: ModelVersion
    to_version: ModelVersion
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    tolerance: float | None = None
    name: str = ""

    def draft(self, created_by: User | None = None) -> Replay:
        """An unsaved replay of it, whose rows are fixed from now on."""
        return Replay(
            created_by=created_by, **{name: getattr(self, name) for name in self.__slots__}
        )

    def unfinished(self) -> Replay | None:
        """The newest replay of the same that was begun and not completed."""
        same = {name: getattr(self, name) for name in self.__slots__}
        # Null is no value to compare with.
        wanted = {f"{n}__isnull" if v is None else n: v is None or v for n, v in same.items()}
        begun = Replay.objects.filter(**wanted).exclude(status=Replay.Status.COMPLETED)
        return begun.with_versions().newest_first().first()


def find_version(reference: int | tuple[str, str]) -> ModelVersion:
    """The version with this id, or name and version, active or not; raises ModelNotFound."""
    if isinstance(reference, int):
        return ModelVersion.objects.find(reference)
    version = ModelVersion.objects.filter(name=reference[0], version=reference[1]).first()
    if version is None:
        raise ModelNotFound(f"Model {reference[0]}:{reference[1]} not found")
    return version


def load(version: ModelVersion) -> LoadedModel:
    """The version's model; raises ModelNotFound, ArtifactMissing or ModelNotReady."""
    if version.is_active and not version.has_artifact:
        raise ArtifactMissing(f"Model {version.pk} has no artifact yet")
    return loader.apart(version.pk)


def start(plan: Plan, *, created_by: User | None = None) -> Replay:
    """A new replay, with its rows counted and none replayed yet."""
    replay = plan.draft(created_by)
    replay.rows_expected = _bounded(rows_of(replay), replay.limit).count()
    replay.save(force_insert=True)
    return replay


_inline = threading.Lock()


def replay_now(plan: Plan, *, created_by: User) -> Replay:
    """Replay at most MAX_REPLAY_ROWS rows while the caller waits, one caller at a time.

    Raises ReplayTooLarge, ReplayBusy and what `load` raises; then nothing was written.
    """
    if not _inline.acquire(blocking=False):
        raise ReplayBusy("Another replay is running in this process; please try again")
    try:
        _refuse_many(plan)
        model = load(plan.to_version)
        return run(start(plan, created_by=created_by), model)
    finally:
        _inline.release()


def _refuse_many(plan: Plan) -> None:
    most = settings.MAX_REPLAY_ROWS
    if _bounded(rows_of(plan.draft()), plan.limit)[: most + 1].count() <= most:
        return
    options: dict[str, Any] = {
        "--from": plan.from_version,
        "--to": plan.to_version,
        "--since": plan.since and plan.since.isoformat(),
        "--until": plan.until and plan.until.isoformat(),
        "--limit": plan.limit,
        "--tolerance": plan.tolerance,
    }
    command = " ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    raise ReplayTooLarge(
        f"More than {most} rows are the command's work: manage.py replay {command}"
    )


def run(
    replay: Replay,
    model: LoadedModel,
    *,
    chunk_rows: int | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> Replay:
    """Replay what is left of it and complete it.

    Each chunk's results are committed together with the place where to go on, so that a replay that
    was killed at any moment is run again without losing or repeating a row. `progress` is told the
    rows of each chunk. Raises ReplayTaken where another process has gone on meanwhile.
    """
    size = chunk_rows or _chunk_rows(model.signature)
    try:
        while chunk := _next_chunk(replay, size):
            outcomes = rescore(model, [row.input_data for row in chunk])
            _commit(
                replay,
                chunk[-1],
                [
                    _result(row, outcome, replay.tolerance)
                    for row, outcome in zip(chunk, outcomes, strict=True)
                ],
            )
            progress(len(chunk))
        return _complete(replay)
    except ReplayTaken:
        raise
    except Exception as error:
        _fail(replay, error)
        raise


# -- rows


def rows_of(replay: Replay) -> QuerySet[Prediction]:
    """The predictions that it replays, newest first, but for its limit."""
    before = replay.created_at if replay.until is None else min(replay.until, replay.created_at)
    # Its index yields them in this order; failed ones, which are few, are passed over.
    rows = Prediction.objects.filter(
        model_id=replay.from_version_id,
        status=Prediction.Status.SUCCEEDED,
        created_at__lt=before,
    )
    return (
        rows if replay.since is None else rows.filter(created_at__gte=replay.since)
    ).newest_first()


def _bounded(rows: QuerySet[Prediction], limit: int | None) -> QuerySet[Prediction]:
    return rows if limit is None else rows[:limit]


def _chunk_rows(signature: Signature) -> int:
    width = sum(
        math.prod(USUAL_LENGTH if size == -1 else size for size in tensor.row_shape)
        for tensor in signature.inputs
    )
    return max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(1, width)))


def _next_chunk(replay: Replay, size: int) -> list[Recorded]:
    if replay.limit is not None:
        size = min(size, replay.limit - replay.rows_done)
    rows = rows_of(replay)
    if replay.cursor_at is not None:
        # The first condition is redundant in logic; it is the one that the index begins with.
        rows = rows.filter(
            Q(created_at__lte=replay.cursor_at),
            Q(created_at__lt=replay.cursor_at) | Q(id__lt=replay.cursor_id),
        )
    return [Recorded(*row) for row in rows.values_list(*Recorded._fields)[:size]]


# -- results


def _result(row: Recorded, outcome: Outcome, tolerance: float | None) -> Result:
    result = Result(row.id)
    if not isinstance(outcome, Answer):
        is_refused = isinstance(outcome, InvalidInput)
        result.status = (Status.REFUSED if is_refused else Status.FAILED).value
        result.error = _reason(outcome)
        return result
    result.prediction, result.confidence = outcome.prediction, outcome.confidence
    result.output = outcome.output
    pair = compare(
        Answered(row.prediction, row.output),
        Answered(outcome.prediction, outcome.output),
        tolerance,
    )
    if pair is None:
        result.status = Status.INCOMPARABLE.value
        result.error = "One answer is a label or several outputs, where the other is a number."
        return result
    result.agrees, result.difference = pair.agrees, pair.difference
    result.distance = pair.distance
    return result


def _reason(error: Exception) -> str:
    # PostgreSQL stores no NUL, and a library may quote any byte of its input.
    reason = str(error).replace("\0", "") or type(error).__name__
    return reason.encode(errors="replace").decode()[:MAX_ERROR_LENGTH]


def _commit(replay: Replay, last: Recorded, results: Sequence[Result]) -> None:
    """Commit a chunk's results with the place of its last row."""
    changes = {
        "cursor_at": last.created_at,
        "cursor_id": last.id,
        "rows_done": replay.rows_done + len(results),
        "status": Replay.Status.RUNNING,
        "error": "",
    }
    with transaction.atomic():
        _swap(replay, changes)
        replay_results.insert(replay, results)
    _take(replay, changes)


def _complete(replay: Replay) -> Replay:
    changes = {
        "report": report_of(replay),
        "status": Replay.Status.COMPLETED,
        "error": "",
        "finished_at": timezone.now(),
    }
    _swap(replay, changes)
    _take(replay, changes)
    return replay


def _fail(replay: Replay, error: Exception) -> None:
    changes = {"status": Replay.Status.FAILED, "error": _reason(error)}
    # Where even that can not be written it stays running, and can be resumed all the same.
    with contextlib.suppress(DatabaseError, InterfaceError, ReplayTaken):
        _swap(replay, changes)
        _take(replay, changes)


def _swap(replay: Replay, changes: dict[str, Any]) -> None:
    """Write to the replay where nobody else has gone on with it; raises ReplayTaken."""
    untouched = Replay.objects.filter(pk=replay.pk, rows_done=replay.rows_done)
    if not untouched.exclude(status=Replay.Status.COMPLETED).update(**changes):
        raise ReplayTaken(f"Replay {replay.pk} was continued by another process, or deleted")


def _take(replay: Replay, changes: dict[str, Any]) -> None:
    for field, value in changes.items():
        setattr(replay, field, value)
