"""The stage that concurrent predictions share: scored in one call, committed in one transaction."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from predictions.metrics import INFERENCE_SECONDS
from predictions.serving import inference, recorder
from predictions.serving.batching import Batcher
from predictions.serving.recorder import Record
from registry.loader import LoadedModel
from registry.runtimes.base import InferenceError

# More threads than this ask at once on no sensible server; it bounds the statement's size.
MAX_JOINED_CALLS = 128


@dataclass(frozen=True, slots=True)
class Draft:
    """A prediction that is on its way: what will be recorded, and its arranged input."""

    model: LoadedModel
    record: Record
    inputs: inference.Inputs


class Lanes(NamedTuple):
    """Of one loaded model. Records with a claim keep to themselves: they may have to wait for
    another transaction that claims the same key.
    """

    free: Batcher[Draft, Record]
    claimed: Batcher[Draft, Record]


# Calls of one version share inference and commit, and a slow model holds up nobody else's callers.
_lanes: WeakKeyDictionary[LoadedModel, Lanes] = WeakKeyDictionary()
_lanes_lock = threading.Lock()


def join(draft: Draft) -> Record:
    """The scored and committed record of a draft, together with whatever else is waiting.

    Raises what the recorder gave in the record's place.
    """
    lanes = _lanes.get(draft.model) or _new_lanes(draft.model)
    return (lanes.claimed if draft.record.claim else lanes.free)(draft)


def _new_lanes(model: LoadedModel) -> Lanes:
    lanes = Lanes(
        Batcher(score_and_record, limit=MAX_JOINED_CALLS),
        Batcher(_score_and_record_once, limit=MAX_JOINED_CALLS),
    )
    with _lanes_lock:
        return _lanes.setdefault(model, lanes)


def score_and_record(drafts: Sequence[Draft]) -> Sequence[Record | Exception]:
    """Score and commit the drafts that came together, in as few calls and commits as can be.

    Scoring and recording are one stage: two would hand every request once more to another thread.
    """
    return recorder.record(_scored(drafts))


def _score_and_record_once(drafts: Sequence[Draft]) -> Sequence[Record | Exception]:
    return recorder.record_once(_scored(drafts))


def _scored(drafts: Sequence[Draft]) -> list[Record]:
    groups: dict[Any, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(inference.shape_of(draft.inputs), []).append(draft)
    for group in groups.values():
        inputs = inference.join([draft.inputs for draft in group])
        score([draft.record for draft in group], inputs, group[0].model)
    return [draft.record for draft in drafts]


def score(records: Sequence[Record], inputs: inference.Inputs, model: LoadedModel) -> None:
    """Complete or fail the records with the model's answers to `inputs`."""
    started = time.perf_counter()
    answers = inference.score(model, inputs)
    seconds = time.perf_counter() - started
    INFERENCE_SECONDS.labels(str(model.version)).observe(seconds)
    for record, answer in zip(records, answers, strict=True):
        record.latency_ms = seconds * 1000
        if isinstance(answer, InferenceError):
            record.fail(answer)
        else:
            record.complete(answer.prediction, answer.confidence, answer.output)
