"""The workflows between a request and its committed rows."""

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat

import orjson
from django.conf import settings

from predictions.models import Prediction
from predictions.serving import idempotency, lanes, recorder, shadows
from predictions.serving.answers import Answer
from predictions.serving.idempotency import AlreadyAnswered, Claim, KeyReused
from predictions.serving.questions import Question
from predictions.serving.records import Record
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.signatures.validation import InvalidInput

# Nobody reads more of a batch's failures than this.
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
        self.extensions = {"prediction_ids": [record.pk for record in records[:MAX_SHOWN]]}


class PredictionUnavailable(PredictionFailed):
    """The model's own server could not be reached; the failures are recorded all the same."""

    retry_after = 1


def predict(question: Question, input_data: JSONObject, *, reference: str | None = None) -> Record:
    """Score one input and return its committed record.

    Raises ModelNotFound, ArtifactMissing, ModelNotReady, InvalidInput (with paths below
    `input_data`), CallerInactive, AlreadyAnswered or PredictionFailed; only the last leaves a
    record.
    """
    record = question.record(input_data, reference)
    if question.model_id is None or question.claim is not None:
        # A query has been made, so this thread holds a connection, which the caller that commits
        # for all waiting ones may need.
        loader.release_connection()
    try:
        record = lanes.answer_and_record(question.loaded, record)
    except InvalidInput as error:
        raise _with_paths_below("input_data", error) from error
    shadows.follow(question.target.shadow_ids, [record])
    if record.error:
        message = f"Model {record.model_id} failed on this input: {record.error}"
        raise _prediction_failed(message, [record])
    return record


def predict_batch(
    question: Question,
    inputs: Sequence[JSONObject],
    *,
    references: Sequence[str | None] | None = None,
    check_answers: Callable[[Sequence[Answer]], None] | None = None,
) -> list[Record]:
    """Score inputs in one call and return their records in the same order, committed all or none.

    `check_answers` sees all answers before anything is recorded, and may raise. Raises what it
    does and what `predict` does, with paths below `inputs[i]`. If the model fails on some inputs,
    only the records of those are written.
    """
    _check_copied_metadata(question.metadata, len(inputs))
    records = [
        question.record(input_data, reference)
        for input_data, reference in zip(
            inputs, references or repeat(None, len(inputs)), strict=True
        )
    ]
    try:
        lanes.answer_records(question.loaded, records, all_must_fit=True)
    except InvalidInput as error:
        raise _with_paths_below(f"inputs[{error.row}]", error) from error
    if failed := {place: record for place, record in enumerate(records) if record.error}:
        raise _record_failures(failed, len(records))
    if check_answers is not None:
        check_answers([Answer.recorded(record) for record in records])
    recorder.record_all(records, question.claim)
    shadows.follow(question.target.shadow_ids, records)
    return records


def predict_each(question: Question, inputs: Sequence[object]) -> list[Record | Exception]:
    """Score inputs and record each on its own; return a result for each, in their order.

    A result is the committed record, failed or not, or the reason why nothing was recorded.
    """
    records = [question.record(input_data) for input_data in inputs]
    results = lanes.answer_and_record_together(question.loaded, records)
    shadows.follow(
        question.target.shadow_ids, [result for result in results if isinstance(result, Record)]
    )
    return results


def answer_once(
    claim: Claim | None, predict: Callable[[], list[Record]]
) -> tuple[Sequence[Record | Prediction], bool]:
    """What `predict` returns or, for a repeated request, the earlier answer; whether it is new.

    Raises what `predict` does, KeyReused or PredictionNotFound.
    """
    if claim is None:
        return predict(), True
    earlier = idempotency.find_answer(claim)
    if earlier is None:
        try:
            return predict(), True
        except AlreadyAnswered:
            earlier = idempotency.find_answer(claim)
    if earlier is None:
        raise KeyReused(f"{idempotency.HEADER} {claim.key!r} expired while it was being used")
    return earlier, False


def _check_copied_metadata(metadata: JSONObject | None, n_records: int) -> None:
    """Raise InvalidInput if the metadata, copied into every record, exceeds MAX_REQUEST_BYTES."""
    if metadata is None:
        return
    # A small body must not cause gigabytes of writes.
    size = len(orjson.dumps(metadata)) * n_records
    if size > settings.MAX_REQUEST_BYTES:
        message = (
            f"Takes {size} bytes over all {n_records} records; "
            f"the limit is {settings.MAX_REQUEST_BYTES}."
        )
        raise InvalidInput(0, {"metadata": [message]})


# -- failures


def _record_failures(failed: Mapping[int, Record], n_inputs: int) -> PredictionFailed:
    for result in recorder.record(list(failed.values())):
        if isinstance(result, Exception):
            raise result
    model_id = next(iter(failed.values())).model_id
    return _prediction_failed(
        f"Model {model_id} failed on {len(failed)} of {n_inputs} inputs; none was answered",
        list(failed.values()),
        errors={f"inputs[{place}]": [failed[place].error] for place in list(failed)[:MAX_SHOWN]},
    )


def _prediction_failed(
    message: str, records: Sequence[Record], errors: Mapping[str, list[str]] | None = None
) -> PredictionFailed:
    waits = [record.retry_after for record in records if record.retry_after is not None]
    if not waits:
        return PredictionFailed(message, records, errors)
    unavailable = PredictionUnavailable(message, records, errors)
    unavailable.retry_after = max(waits)
    return unavailable


def _with_paths_below(place: str, error: InvalidInput) -> InvalidInput:
    """The same error with the paths of the caller's request body."""
    return InvalidInput(
        error.row,
        {f"{place}.{path}" if path else place: messages for path, messages in error.errors.items()},
    )
