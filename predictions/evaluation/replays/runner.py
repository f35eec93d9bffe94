"""Runs replays chunk by chunk, and resumes those that were interrupted."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from predictions.evaluation.replays import plan as plans
from predictions.evaluation.replays import results
from predictions.evaluation.replays.announcements import announce
from predictions.evaluation.replays.plan import Plan, RecordedRow
from predictions.evaluation.replays.report import report_of
from predictions.evaluation.replays.results import Result
from predictions.jobs.running import JobStopped
from predictions.models import Replay
from predictions.serving.inference import answer_rows
from predictions.serving.records import storable_reason
from registry.loading import loader
from registry.loading.cache import LoadedModel
from registry.loading.errors import ArtifactMissing
from registry.models import ModelVersion

# If a model fails on a call, its rows are scored again one by one; this limits how many.
MAX_CALL_ROWS = 500

_request_lock = threading.Lock()


class ReplayTooLarge(Exception):
    """The replay has more rows than a request may replay; the message names the command."""


class ReplayBusy(Exception):
    """This process is running another replay; the message is for the caller."""

    retry_after = 5


class ReplayTaken(Exception):
    """Another process has continued or completed this replay."""


def load_model(version: ModelVersion) -> LoadedModel:
    """The version's model, outside the cache of served models.

    Raises ModelNotFound, ArtifactMissing or ModelNotReady.
    """
    if version.is_active and not version.has_artifact:
        raise ArtifactMissing(f"Model {version.pk} has no artifact yet")
    return loader.load_uncached(version.pk)


def start(plan: Plan, *, created_by: User | None = None) -> Replay:
    """A new replay, with its rows counted and none of them replayed yet; raises InputsMasked."""
    plans.require_replayable(plan)
    replay = plan.draft(created_by)
    replay.rows_expected = plans.count_rows(replay)
    replay.save(force_insert=True)
    return replay


def run_now(plan: Plan, *, created_by: User) -> Replay:
    """Replay at most MAX_REPLAY_ROWS rows while the caller waits, one replay at a time.

    Raises ReplayTooLarge, ReplayBusy, InputsMasked and what `load_model` raises; nothing is written
    then.
    """
    if not _request_lock.acquire(blocking=False):
        raise ReplayBusy("Another replay is running in this process. Try again in a few seconds.")
    try:
        _check_size(plan)
        model = load_model(plan.to_version)
        return run(start(plan, created_by=created_by), model)
    finally:
        _request_lock.release()


def _check_size(plan: Plan) -> None:
    maximum = settings.MAX_REPLAY_ROWS
    if plans.count_rows(plan.draft(), at_most=maximum + 1) <= maximum:
        return
    raise ReplayTooLarge(
        f"A request replays at most {maximum} rows. For more, create a job: POST /api/v1/jobs/ with"
        ' {"kind": "replay", "parameters": {...}}, whose parameters are the fields of this request;'
        " or run manage.py replay."
    )


def run(
    replay: Replay,
    model: LoadedModel,
    *,
    chunk_rows: int | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> Replay:
    """Replay the remaining rows and complete the replay.

    The results of a chunk and the position after it are committed together. A replay that is killed
    at any moment can be run again without losing or repeating a row. `progress` is called with the
    number of rows of each chunk, and may raise JobStopped to interrupt the replay. Raises
    ReplayTaken if another process has continued the replay.
    """
    size = chunk_rows or plans.chunk_size(model.signature)
    try:
        while chunk := plans.next_chunk(replay, size):
            inputs = [row.input_data for row in chunk]
            answers = answer_rows(model, inputs, max_call_rows=MAX_CALL_ROWS)
            _commit(
                replay,
                chunk[-1],
                [
                    results.result_of(row, answer, replay.tolerance)
                    for row, answer in zip(chunk, answers, strict=True)
                ],
            )
            progress(len(chunk))
        return _complete(replay)
    except (ReplayTaken, JobStopped):
        raise
    except Exception as error:
        _fail(replay, error)
        raise


def _commit(replay: Replay, last: RecordedRow, chunk_results: Sequence[Result]) -> None:
    """Commit the results of a chunk together with the position of its last row."""
    changes = {
        "cursor_at": last.created_at,
        "cursor_id": last.id,
        "rows_done": replay.rows_done + len(chunk_results),
        "status": Replay.Status.RUNNING,
        "error": "",
    }
    with transaction.atomic():
        _update_untouched(replay, changes)
        results.insert(replay, chunk_results)
    _assign(replay, changes)


def _complete(replay: Replay) -> Replay:
    report = report_of(replay)
    changes = {
        "report": report,
        "status": Replay.Status.COMPLETED,
        "error": "",
        "finished_at": timezone.now(),
    }
    with transaction.atomic():
        _update_untouched(replay, changes)
        announce(replay, Replay.Status.COMPLETED, report)
    _assign(replay, changes)
    return replay


def _fail(replay: Replay, error: Exception) -> None:
    changes = {"status": Replay.Status.FAILED, "error": storable_reason(error)}
    # If this cannot be written either, the status stays "running". The replay can still be resumed.
    with contextlib.suppress(DatabaseError, InterfaceError, ReplayTaken):
        with transaction.atomic():
            _update_untouched(replay, changes)
            announce(replay, Replay.Status.FAILED)
        _assign(replay, changes)


def _update_untouched(replay: Replay, changes: Mapping[str, object]) -> None:
    """Update the row unless another process has continued the replay; raises ReplayTaken."""
    untouched = Replay.objects.filter(pk=replay.pk, rows_done=replay.rows_done)
    if not untouched.exclude(status=Replay.Status.COMPLETED).update(**changes):
        raise ReplayTaken(f"Replay {replay.pk} was continued by another process, or deleted")


def _assign(replay: Replay, changes: Mapping[str, object]) -> None:
    for field, value in changes.items():
        setattr(replay, field, value)
