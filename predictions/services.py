"""What happens between a request and its committed rows."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self
from weakref import WeakKeyDictionary

import orjson
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework_simplejwt.settings import api_settings

from predictions import inference, recorder
from predictions.batching import Batcher
from predictions.metrics import INFERENCE_SECONDS
from predictions.models import Prediction
from predictions.recorder import Record
from registry import loader
from registry.arrangement import InvalidInput, arrange
from registry.jsonvalues import JSONObject
from registry.loader import LoadedModel
from registry.models import ModelVersion
from registry.runtimes.base import InferenceError
from registry.services import register_model

IMPORT_CHUNK_ROWS = 1000
# More threads than this ask at once on no sensible server; it bounds the statement's size.
MAX_JOINED_CALLS = 128
# Of a batch's failures, as many as someone reads.
MAX_SHOWN = 20


class PredictionFailed(Exception):
    """The model failed on inputs that fit its signature; the failures are recorded."""

    def __init__(
        self,
        message: str,
        records: Sequence[Record],
        errors: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.errors = errors or {}
        self.extensions = {"prediction_ids": [one.pk for one in records[:MAX_SHOWN]]}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked; a command has no user."""

    user_id: int | None = None
    request_id: str = ""
    password_md5: str | None = None

    @classmethod
    def of(cls, request: Request | HttpRequest, token: Any) -> Self:
        # A token without the claim is as good as one with a wrong one.
        claim = token.payload.get(api_settings.REVOKE_TOKEN_CLAIM, "") if token else ""
        return cls(int(request.user.pk or 0), getattr(request, "request_id", ""), claim)


def predict(
    *,
    model_id: int,
    input_data: JSONObject,
    metadata: JSONObject | None = None,
    caller: Caller,
) -> Record:
    """Score one input and return its committed record.

    Raises ModelNotFound, ArtifactMissing, ModelNotReady, InvalidInput (its paths below
    `input_data`), CallerInactive or PredictionFailed; only the last leaves a record.
    """
    model = loader.get(model_id)
    try:
        draft = draft_of(model, input_data, metadata=metadata, caller=caller)
    except InvalidInput as error:
        raise _placed(error, "input_data") from error
    record = _lane(model)(draft)
    if record.error:
        raise PredictionFailed(f"Model {model_id} failed on this input: {record.error}", [record])
    return record


def predict_batch(
    *,
    model_id: int,
    inputs: Sequence[JSONObject],
    metadata: JSONObject | None = None,
    caller: Caller,
) -> list[Record]:
    """Score inputs in one call and return their records in the same order, committed all or none.

    Raises what `predict` does, with paths below `inputs[i]`; where the model fails on some inputs,
    the records of those alone are left.
    """
    # Each record holds the metadata: a small body must not ask for gigabytes of them.
    copied = len(orjson.dumps(metadata)) * len(inputs)
    if metadata is not None and copied > settings.MAX_REQUEST_BYTES:
        message = f"Takes {copied} bytes in all records, where {settings.MAX_REQUEST_BYTES} may be."
        raise InvalidInput(0, {"metadata": [message]})
    model = loader.get(model_id)
    try:
        arranged = arrange(model.signature, inputs)
    except InvalidInput as error:
        raise _placed(error, f"inputs[{error.row}]") from error
    records = [_record(model, input_data, metadata, caller) for input_data in inputs]
    _score(records, arranged, model)
    failed = {i: record for i, record in enumerate(records) if record.error}
    if not failed:
        recorder.record_all(records)
        return records
    for outcome in recorder.record(list(failed.values())):
        if isinstance(outcome, Exception):
            raise outcome
    raise PredictionFailed(
        f"Model {model_id} failed on {len(failed)} of {len(records)} inputs, none was answered",
        list(failed.values()),
        errors={f"inputs[{i}]": [failed[i].error] for i in list(failed)[:MAX_SHOWN]},
    )


@dataclass(frozen=True, slots=True)
class Draft:
    """A prediction that is on its way: what will be recorded, and its arranged input."""

    model: LoadedModel
    record: Record
    inputs: inference.Inputs


def draft_of(
    model: LoadedModel, input_data: Any, *, metadata: JSONObject | None, caller: Caller
) -> Draft:
    """A draft of one input; raises InvalidInput."""
    inputs = arrange(model.signature, [input_data])
    return Draft(model, _record(model, input_data, metadata, caller), inputs)


def _record(
    model: LoadedModel, input_data: Any, metadata: JSONObject | None, caller: Caller
) -> Record:
    return Record(
        model.version, input_data, metadata, caller.request_id, caller.user_id, caller.password_md5
    )


# One lane a loaded model: calls of one version share inference and commit, and a slow model holds
# up nobody else's callers.
_lanes: WeakKeyDictionary[LoadedModel, Batcher[Draft, Record]] = WeakKeyDictionary()
_lanes_lock = threading.Lock()


def _lane(model: LoadedModel) -> Batcher[Draft, Record]:
    lane = _lanes.get(model)
    if lane is None:
        with _lanes_lock:
            lane = _lanes.setdefault(model, Batcher(score_and_record, limit=MAX_JOINED_CALLS))
    return lane


def score_and_record(drafts: Sequence[Draft]) -> Sequence[Record | Exception]:
    """Score and commit the drafts that came together, in as few calls and commits as can be.

    Scoring and recording are one stage: two would hand every request once more to another thread.
    """
    groups: dict[Any, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault(inference.shape_of(draft.inputs), []).append(draft)
    for group in groups.values():
        inputs = inference.join([draft.inputs for draft in group])
        _score([draft.record for draft in group], inputs, group[0].model)
    return recorder.record([draft.record for draft in drafts])


def _score(records: Sequence[Record], inputs: inference.Inputs, model: LoadedModel) -> None:
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


def create_model_with_predictions(
    *,
    predictions: Iterable[Mapping[str, Any]],
    **version: Any,
) -> tuple[ModelVersion, int]:
    """Register a version together with predictions it made elsewhere: all of them, or nothing.

    `version` is what `register_model` takes, `predictions` are valid fields of Prediction. Returns
    the version and the number of rows. Raises what `register_model` raises, and whatever the
    iterable raises.
    """
    with transaction.atomic():
        model = register_model(**version)
        count = 0
        for chunk in _chunks(predictions, IMPORT_CHUNK_ROWS):
            Prediction.objects.bulk_create(Prediction(model=model, **fields) for fields in chunk)
            count += len(chunk)
    return model, count


def _chunks(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _placed(error: InvalidInput, where: str) -> InvalidInput:
    """The same error with its paths as the caller's body has them."""
    return InvalidInput(
        error.row,
        {f"{where}.{path}" if path else where: said for path, said in error.errors.items()},
    )
