"""The stage that concurrent predictions share: one runtime call, one transaction.

Answering and recording are one stage: with two, every request would wait for one more switch
between threads.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

from predictions.metrics import INFERENCE_SECONDS
from predictions.serving import inference, recorder
from predictions.serving.batching import Batcher
from predictions.serving.limits.deadlines import Deadline, latest
from predictions.serving.records import Record
from registry.database import statements
from registry.loading.cache import LoadedModel
from registry.signatures.validation import InvalidInput

# Bounds the size of the statement. No sensible server runs more threads.
MAX_JOINED_CALLS = 128


class Call(NamedTuple):
    """An unanswered record, the model to answer it, and when its caller needs the answer."""

    model: LoadedModel
    record: Record
    deadline: Deadline | None


class Lanes(NamedTuple):
    """The two queues of one loaded model.

    Records with an idempotency key have their own: they may have to wait for another transaction
    that claims the same key.
    """

    without_key: Batcher[Call, Record]
    with_key: Batcher[Call, Record]


# Per model, so that a slow model delays only its own callers.
_lanes: WeakKeyDictionary[LoadedModel, Lanes] = WeakKeyDictionary()
_lanes_lock = threading.Lock()


def answer_and_record(
    model: LoadedModel,
    record: Record,
    *,
    deadline: Deadline | None = None,
    give_up_at: float | None = None,
) -> Record:
    """Answer one record and commit it, together with all others that wait for this model.

    If the model's rows cannot share a call, only the commit is shared. Raises InvalidInput, or what
    the recorder returned in the record's place; or GivenUp at the monotonic time `give_up_at` if
    the record is not being written by then. It is not touched any more then. A record that has no
    answer by its deadline is committed as failed.
    """
    if not model.signature.is_joinable:
        misfits = answer_records(model, [record], deadline=deadline)
        if misfits:
            raise misfits[0]
        if deadline is not None and deadline.has_passed:
            record.fail(deadline.exceeded())
    lanes = _lanes.get(model) or _new_lanes(model)
    lane = lanes.with_key if record.claim else lanes.without_key
    return lane(Call(model, record, deadline), give_up_at=give_up_at)


def answer_and_record_together(
    model: LoadedModel,
    records: Sequence[Record],
    *,
    deadline: Deadline | None = None,
    records_misfits: bool = False,
) -> list[Record | Exception]:
    """Answer records and commit them in one transaction; a result for each, in their order.

    A result is the committed record or the reason why there is none: InvalidInput for an input that
    does not fit the signature (with `records_misfits`, it is recorded as failed instead), or what
    the recorder returned in the record's place.
    """
    misfits = answer_records(model, records, deadline=deadline)
    if records_misfits:
        misfits = {}
    fitting = [record for place, record in enumerate(records) if place not in misfits]
    with statements.limited_by(deadline and deadline.at):
        results = iter(recorder.record(fitting)) if fitting else iter(())
    return [misfits[place] if place in misfits else next(results) for place in range(len(records))]


def answer_records(
    model: LoadedModel,
    records: Sequence[Record],
    *,
    all_must_fit: bool = False,
    deadline: Deadline | None = None,
) -> dict[int, InvalidInput]:
    """Have the model answer the records; return the errors of inputs that do not fit, by place.

    With `all_must_fit`, the first InvalidInput is raised instead, before anything is scored. The
    records that have no answer when `deadline` passes fail.
    """
    answers = inference.answer_rows(
        model,
        [record.input_data for record in records],
        all_must_fit=all_must_fit,
        deadline=deadline,
        observe_seconds=_observer(str(model.version)),
    )
    for record, answer in zip(records, answers, strict=True):
        record.take(answer)
    return {
        place: answer.error
        for place, answer in enumerate(answers)
        if isinstance(answer.error, InvalidInput)
    }


@cache
def _observer(version: str) -> Callable[[float], None]:
    # Looking a histogram up by its labels takes longer than observing.
    return INFERENCE_SECONDS.labels(version).observe


def _new_lanes(model: LoadedModel) -> Lanes:
    prepare = _answer if model.signature.is_joinable else None
    lanes = Lanes(
        Batcher(_commit, prepare=prepare, limit=MAX_JOINED_CALLS),
        Batcher(_commit_with_keys, prepare=prepare, limit=MAX_JOINED_CALLS),
    )
    with _lanes_lock:
        return _lanes.setdefault(model, lanes)


def _answer(calls: Sequence[Call]) -> list[Record | Exception | None]:
    """Have the model answer; the errors of inputs that do not fit, None for the others."""
    records = [call.record for call in calls]
    # As long as one caller waits, so that no other cuts its call short.
    deadline = latest(call.deadline for call in calls)
    misfits = answer_records(calls[0].model, records, deadline=deadline)
    now = time.monotonic()
    for call in calls:
        if call.deadline is not None and call.deadline.at <= now:
            call.record.fail(call.deadline.exceeded())
    return [misfits.get(place) for place in range(len(calls))]


def _commit(calls: Sequence[Call]) -> list[Record | Exception]:
    with _limited_by_deadlines(calls):
        return recorder.record([call.record for call in calls])


def _commit_with_keys(calls: Sequence[Call]) -> list[Record | Exception]:
    with _limited_by_deadlines(calls):
        return recorder.record_once([call.record for call in calls])


def _limited_by_deadlines(calls: Sequence[Call]) -> AbstractContextManager[None]:
    # As long as one caller waits: nobody's short deadline stops the statement of the others.
    deadline = latest(call.deadline for call in calls)
    return statements.limited_by(deadline and deadline.at)
