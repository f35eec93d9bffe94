"""Scores what was answered once more by an alias's shadows, off the caller's path.

A shadow never delays or fails an answer: what it can not keep up with is dropped and counted. Its
rows are recorded like any others, tied to the answered prediction. What waits is lost with the
process: it was never promised to anybody.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from django.db import Error as DatabaseError
from django.db import connection
from prometheus_client import Counter

from predictions.metrics import SHADOWS_DROPPED
from predictions.models import Prediction
from predictions.serving import lanes, recorder
from predictions.serving.lanes import Draft
from predictions.serving.recorder import Record
from registry import loader
from registry.loader import ArtifactMissing, LoadedModel, ModelNotReady
from registry.models import ModelNotFound
from registry.signatures.arrangement import InvalidInput, arrange

logger = logging.getLogger(__name__)

# What waits for one shadow; about a second of a busy process.
MAX_WAITING = 2000
# Of all shadows together, in bytes of JSON: inputs may be large.
MAX_WAITING_BYTES = 64 * 2**20
BATCH_ROWS = 32
# A slow shadow has one of them; the others keep to the rest.
MAX_THREADS = 8
# Threads share the interpreter's lock with the callers': for each second of processor time that a
# shadow takes, it pauses for so many, so that it takes a thirtieth of the process; one whose
# batches take longer than a thirtieth of a second takes more.
PAUSE_RATIO = 29.0
MAX_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Input:
    """One input for a shadow, and the answered prediction that it belongs to."""

    answered: Record
    size_bytes: int


class Backlog:
    """Bounded queues, one a shadow, worked off by a few threads; knows nothing of predictions.

    `run` takes a shadow's id and some of its inputs, and must not raise. `drop` is told the id and
    how many were refused for want of room.
    """

    def __init__(
        self, run: Callable[[int, list[Input]], None], drop: Callable[[int, int], None]
    ) -> None:
        self._run = run
        self._drop = drop
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[Input]] = defaultdict(deque)
        self._size_bytes = 0
        # Shadows with inputs that no thread works for, in turns.
        self._ready: deque[int] = deque()
        self._busy: set[int] = set()

    def add(self, model_id: int, inputs: Sequence[Input]) -> None:
        """Queue inputs for a shadow, those for which there is room; never waits."""
        with self._lock:
            queue = self._waiting[model_id]
            taken = 0
            for one in inputs:
                full = self._size_bytes + one.size_bytes > MAX_WAITING_BYTES
                if full or len(queue) >= MAX_WAITING:
                    break
                queue.append(one)
                self._size_bytes += one.size_bytes
                taken += 1
            if taken and model_id not in self._busy:
                self._busy.add(model_id)
                self._ready.append(model_id)
                self._start_thread()
        if taken < len(inputs):
            self._drop(model_id, len(inputs) - taken)

    def _start_thread(self) -> None:
        # They end as soon as nothing waits: an idle service has none.
        if len(self._busy) > MAX_THREADS:
            return
        try:
            threading.Thread(target=self._work, name="shadow", daemon=True).start()
        except RuntimeError:
            # The process may have no more. Others that are busy have a thread, which comes here
            # too; where there is none, the next input tries again.
            logger.warning("No thread can be started for shadows")
            if len(self._busy) == 1:
                self._busy.clear()
                self._ready.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._ready:
                    return
                model_id = self._ready.popleft()
                batch = self._take(model_id)
            started = time.thread_time()
            self._run(model_id, batch)
            pause = PAUSE_RATIO * (time.thread_time() - started)
            # Still busy: else the next input would start a thread that has not to pause.
            time.sleep(min(pause, MAX_PAUSE_SECONDS))
            with self._lock:
                if self._waiting[model_id]:
                    self._ready.append(model_id)
                else:
                    self._busy.discard(model_id)
                    del self._waiting[model_id]

    def _take(self, model_id: int) -> list[Input]:
        queue = self._waiting[model_id]
        batch = [queue.popleft() for _ in range(min(len(queue), BATCH_ROWS))]
        self._size_bytes -= sum(one.size_bytes for one in batch)
        return batch


def follow(shadow_ids: Iterable[int], answered: Sequence[Record]) -> None:
    """Have shadows score the inputs of recorded predictions; returns at once."""
    inputs = [Input(record, len(orjson.dumps(record.input_data))) for record in answered]
    for shadow_id in shadow_ids:
        backlog.add(shadow_id, inputs)


def _count_dropped(model_id: int, count: int, reason: str = "overloaded") -> None:
    _counter(model_id, reason).inc(count)


@cache
def _counter(model_id: int, reason: str) -> Counter:
    # Looking one up by its labels takes longer than counting.
    return SHADOWS_DROPPED.labels(str(model_id), reason)


def _run(model_id: int, batch: list[Input]) -> None:
    try:
        refused = _score(loader.get(model_id), batch)
        if refused:
            _count_dropped(model_id, refused, "refused")
    except (ArtifactMissing, ModelNotFound, ModelNotReady) as error:
        logger.warning("Shadow %d can not be served: %s", model_id, error)
        _count_dropped(model_id, len(batch), "unavailable")
    except DatabaseError as error:
        logger.warning("Rows of shadow %d were not recorded: %s", model_id, error)
        _count_dropped(model_id, len(batch), "not recorded")
    except Exception:
        logger.exception("Shadow %d", model_id)
        _count_dropped(model_id, len(batch), "not recorded")
    finally:
        connection.close()


def _score(model: LoadedModel, batch: Sequence[Input]) -> int:
    """Record a row for each input; how many the recorder refused."""
    drafts, misfits = [], []
    for one in batch:
        record = _record(model, one.answered)
        try:
            inputs = arrange(model.signature, [record.input_data])
        except InvalidInput as error:
            record.fail(error)
            misfits.append(record)
        else:
            drafts.append(Draft(model, record, inputs))
    outcomes: list[Any] = list(lanes.score_and_record(drafts)) if drafts else []
    if misfits:
        outcomes += recorder.record(misfits)
    return sum(isinstance(outcome, Exception) for outcome in outcomes)


def _record(model: LoadedModel, answered: Record) -> Record:
    return Record(
        model.version,
        answered.input_data,
        request_id=answered.request_id,
        user_id=answered.user_id,
        subject=answered.subject,
        alias=answered.alias,
        arm=Prediction.Arm.SHADOW.value,
        primary_id=answered.pk,
    )


backlog = Backlog(_run, _count_dropped)
