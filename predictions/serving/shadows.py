"""Has an alias's shadows score answered inputs again, without delaying the caller.

A shadow never delays or fails a response: inputs it cannot keep up with are dropped and counted.
Its rows are recorded like any others and refer to the answered prediction. Inputs that still wait
are lost when the process ends: nobody was promised their answers.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

import orjson
from django.db import Error as DatabaseError
from django.db import connection
from prometheus_client import Counter

from predictions.metrics import SHADOWS_DROPPED
from predictions.models import Prediction
from predictions.serving import lanes
from predictions.serving.records import Record
from registry.loading import loader
from registry.loading.cache import LoadedModel
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.models import ModelNotFound
from registry.signatures.masking import both

logger = logging.getLogger(__name__)

# Inputs that may wait for one shadow: about a second's worth of a busy process.
MAX_WAITING = 2000
# For all shadows together, in bytes of JSON: inputs may be large.
MAX_WAITING_BYTES = 64 * 2**20
BATCH_ROWS = 32
# A slow shadow occupies one thread; the others share the rest.
MAX_THREADS = 8
# Shadows compete with callers for the interpreter lock. After each second of processor time a
# shadow pauses for this many, which limits it to about 1/30 of the process. The limit on the pause
# lets a shadow whose batches take longer than 1/30 s use more.
PAUSE_RATIO = 29.0
MAX_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Input:
    """One input for a shadow, with the answered prediction that it belongs to."""

    answered: Record
    size_bytes: int


class Backlog:
    """Bounded queues, one per shadow, drained by a few threads. Knows nothing about predictions.

    `run` takes a shadow's id and some of its inputs, and must not raise. `drop` receives the id and
    the number of inputs for which there was no room.
    """

    def __init__(
        self, run: Callable[[int, list[Input]], None], drop: Callable[[int, int], None]
    ) -> None:
        self._run = run
        self._drop = drop
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[Input]] = defaultdict(deque)
        self._size_bytes = 0
        # Shadows that have inputs but no thread, served in turn.
        self._ready: deque[int] = deque()
        self._busy: set[int] = set()

    def add(self, model_id: int, inputs: Sequence[Input]) -> None:
        """Queue as many of the inputs for a shadow as there is room for; never waits."""
        with self._lock:
            queue = self._waiting[model_id]
            n_queued = 0
            for item in inputs:
                is_full = self._size_bytes + item.size_bytes > MAX_WAITING_BYTES
                if is_full or len(queue) >= MAX_WAITING:
                    break
                queue.append(item)
                self._size_bytes += item.size_bytes
                n_queued += 1
            if n_queued and model_id not in self._busy:
                self._busy.add(model_id)
                self._ready.append(model_id)
                self._start_thread()
        if n_queued < len(inputs):
            self._drop(model_id, len(inputs) - n_queued)

    def _start_thread(self) -> None:
        # Threads end as soon as nothing waits: an idle service has none.
        if len(self._busy) > MAX_THREADS:
            return
        try:
            threading.Thread(target=self._work, name="shadow", daemon=True).start()
        except RuntimeError:
            # The process may be out of threads. The thread of another busy shadow will get to this
            # one; if there is none, the next input tries again.
            logger.warning("Cannot start a thread for shadows")
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
            # The shadow stays busy during the pause: otherwise its next input would start a thread
            # that does not pause.
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
        self._size_bytes -= sum(item.size_bytes for item in batch)
        return batch


def follow(shadow_ids: Collection[int], answered: Sequence[Record]) -> None:
    """Have shadows score the inputs of recorded predictions; returns at once."""
    if not shadow_ids:
        return
    inputs = [Input(record, len(orjson.dumps(record.scored_input))) for record in answered]
    for shadow_id in shadow_ids:
        backlog.add(shadow_id, inputs)


def _count_dropped(model_id: int, count: int, reason: str = "overloaded") -> None:
    _counter(model_id, reason).inc(count)


@cache
def _counter(model_id: int, reason: str) -> Counter:
    # Looking a counter up by its labels takes longer than counting.
    return SHADOWS_DROPPED.labels(str(model_id), reason)


def _run(model_id: int, batch: list[Input]) -> None:
    try:
        refused = _answer(loader.get(model_id), batch)
        if refused:
            _count_dropped(model_id, refused, "refused")
    except (ArtifactMissing, ModelNotFound, ModelNotReady, ModelQuarantined) as error:
        logger.warning("Shadow %d cannot be served: %s", model_id, error)
        _count_dropped(model_id, len(batch), "unavailable")
    except DatabaseError as error:
        logger.warning("Rows of shadow %d were not recorded: %s", model_id, error)
        _count_dropped(model_id, len(batch), "not recorded")
    except Exception:
        logger.exception("Shadow %d failed unexpectedly", model_id)
        _count_dropped(model_id, len(batch), "not recorded")
    finally:
        connection.close()


def _answer(model: LoadedModel, batch: Sequence[Input]) -> int:
    """Record an answer or a failure for each input; return how many the recorder refused."""
    records = [_record(model, item.answered) for item in batch]
    results = lanes.answer_and_record_together(model, records, records_misfits=True)
    return sum(isinstance(result, Exception) for result in results)


def _record(model: LoadedModel, answered: Record) -> Record:
    return Record(
        model.version,
        answered.scored_input,
        request_id=answered.request_id,
        user_id=answered.user_id,
        api_key_id=answered.api_key_id,
        subject=answered.subject,
        alias=answered.alias,
        arm=Prediction.Arm.SHADOW.value,
        primary_id=answered.pk,
        _masks=both(answered.masks, model.masks),
    )


backlog = Backlog(_run, _count_dropped)
