"""The stage that concurrent predictions share: one runtime call, one transaction.

Answering and recording are one stage: with two, every request would wait for one more switch
between threads.
"""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from predictions.metrics import INFERENCE_SECONDS
from predictions.serving import inference, recorder
from predictions.serving.batching import Batcher
from predictions.serving.records import Record
from registry.loading.cache import LoadedModel
from registry.signatures.validation import InvalidInput

# Bounds the size of the statement. No sensible server runs more threads.
MAX_JOINED_CALLS = 128


class Call(NamedTuple):
    """An unanswered record and the model to answer it."""

    model: LoadedModel
    record: Record


class Lanes(NamedTuple):
    """The two queues of one loaded model.

    Records with an idempotency key have their own: they may have to wait for another transaction
    that claims the same key.
    """

    without_key: Batcher[Call, Record]
    with_key: Batcher[Call, Record]


Run: TypeAlias = Callable[[Sequence[Call]], Sequence[Record | Exception]]

# Per model, so that a slow model delays only its own callers.
_lanes: WeakKeyDictionary[LoadedModel, Lanes] = WeakKeyDictionary()
_lanes_lock = threading.Lock()


def answer_and_record(model: LoadedModel, record: Record) -> Record:
    """Answer one record and commit it, together with all others that wait for this model.

    If the model's rows cannot share a call, only the commit is shared. Raises InvalidInput, or what
    the recorder returned in the record's place.
    """
    if not model.signature.is_joinable and (misfits := answer_records(model, [record])):
        raise misfits[0]
    lanes = _lanes.get(model) or _new_lanes(model)
    return (lanes.with_key if record.claim else lanes.without_key)(Call(model, record))


def answer_and_record_together(
    model: LoadedModel,
    records: Sequence[Record],
    *,
    claims_keys: bool = False,
    records_misfits: bool = False,
) -> list[Record | Exception]:
    """Answer records and commit them in one transaction; a result for each, in their order.

    A result is the committed record or the reason why there is none: InvalidInput for an input that
    does not fit the signature (with `records_misfits`, it is recorded as failed instead), or what
    the recorder returned in the record's place. With `claims_keys`, records are committed under
    their idempotency keys.
    """
    misfits = answer_records(model, records)
    if records_misfits:
        misfits = {}
    fitting = [record for place, record in enumerate(records) if place not in misfits]
    commit = recorder.record_once if claims_keys else recorder.record
    results = iter(commit(fitting)) if fitting else iter(())
    return [misfits[place] if place in misfits else next(results) for place in range(len(records))]


def answer_records(
    model: LoadedModel, records: Sequence[Record], *, all_must_fit: bool = False
) -> dict[int, InvalidInput]:
    """Have the model answer the records; return the errors of inputs that do not fit, by place.

    With `all_must_fit`, the first InvalidInput is raised instead, before anything is scored.
    """
    answers = inference.answer_rows(
        model,
        [record.input_data for record in records],
        all_must_fit=all_must_fit,
        observe_seconds=INFERENCE_SECONDS.labels(str(model.version)).observe,
    )
    for record, answer in zip(records, answers, strict=True):
        record.take(answer)
    return {
        place: answer.error
        for place, answer in enumerate(answers)
        if isinstance(answer.error, InvalidInput)
    }


def _new_lanes(model: LoadedModel) -> Lanes:
    if model.signature.is_joinable:
        lanes = _lanes_of(_run, _run_with_keys)
    else:
        lanes = _lanes_of(_commit, _commit_with_keys)
    with _lanes_lock:
        return _lanes.setdefault(model, lanes)


def _lanes_of(without_key: Run, with_key: Run) -> Lanes:
    return Lanes(
        Batcher(without_key, limit=MAX_JOINED_CALLS), Batcher(with_key, limit=MAX_JOINED_CALLS)
    )


def _run(calls: Sequence[Call]) -> list[Record | Exception]:
    return answer_and_record_together(calls[0].model, [call.record for call in calls])


def _run_with_keys(calls: Sequence[Call]) -> list[Record | Exception]:
    records = [call.record for call in calls]
    return answer_and_record_together(calls[0].model, records, claims_keys=True)


def _commit(calls: Sequence[Call]) -> list[Record | Exception]:
    return recorder.record([call.record for call in calls])


def _commit_with_keys(calls: Sequence[Call]) -> list[Record | Exception]:
    return recorder.record_once([call.record for call in calls])
