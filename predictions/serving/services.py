"""The workflows between a request and its committed rows."""

import math
from collections.abc import Callable, Mapping, Sequence

import orjson
from django.conf import settings

from predictions.models import Prediction
from predictions.serving import guards, idempotency, lanes, recorder, shadows
from predictions.serving.answers import Answer
from predictions.serving.batching import GivenUp
from predictions.serving.idempotency import AlreadyAnswered, KeyReused
from predictions.serving.limits.bulkheads import ModelOverloaded, bulkhead_of
from predictions.serving.limits.deadlines import Deadline
from predictions.serving.questions import Question
from predictions.serving.records import Record
from registry.database import statements
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


class PredictionTimedOut(PredictionFailed):
    """There was no answer before the deadline; the failures are recorded all the same."""


def predict(question: Question, input_data: JSONObject, *, reference: str | None = None) -> Record:
    """Score one input and return its committed record.

    Raises ModelNotFound, ArtifactMissing, ModelNotReady, ModelOverloaded, InvalidInput (with paths
    below `input_data`), CallerInactive, AlreadyAnswered or PredictionFailed; only the last leaves a
    record.
    """
    record = question.record(input_data, reference)
    if question.model_id is None or question.claim is not None:
        # A query has been made, so this thread holds a connection, which the caller that commits
        # for all waiting ones may need.
        loader.release_connection()
    try:
        record = _answer_and_record(question, record)
    except InvalidInput as error:
        raise _with_paths_below("input_data", error) from error
    shadows.follow(question.target.shadow_ids, [record])
    if record.error:
        message = f"Model {record.model_id} failed on this input: {record.error}"
        raise _prediction_failed(message, [record])
    return record


def _answer_and_record(question: Question, record: Record) -> Record:
    """Answer and commit a record as one of the version's callers, until its deadline."""
    bulkhead, limit = bulkhead_of(record.model_id), question.max_concurrency
    if not question.loaded.signature.is_joinable:
        # Not a lane but each caller's own thread runs the model.
        with bulkhead.place(limit):
            return _answer_in_time(question, record, question.deadline)
    crowded_until = bulkhead.enter(record, limit)
    try:
        return _answer_in_time(question, record, question.deadline, crowded_until)
    except GivenUp:
        raise bulkhead.overloaded(limit) from None
    finally:
        bulkhead.leave(record)


def _answer_in_time(
    question: Question,
    record: Record,
    deadline: Deadline | None,
    crowded_until: float | None = None,
) -> Record:
    """Answer and commit a record, or at its deadline commit that it failed.

    Raises GivenUp at `crowded_until`, if that comes before the deadline.
    """
    give_up_at = None if deadline is None else deadline.at
    is_turned_away = crowded_until is not None and (
        give_up_at is None or crowded_until < give_up_at
    )
    if is_turned_away:
        give_up_at = crowded_until
    try:
        return lanes.answer_and_record(
            question.loaded, record, deadline=deadline, give_up_at=give_up_at
        )
    except GivenUp:
        if is_turned_away or deadline is None:
            raise
        # A copy: the thread that leads the lane may still write its answer into the record.
        late = question.record(record.scored_input, record.reference)
        late.fail(deadline.exceeded())
    with statements.limited_by(deadline.at):
        [result] = recorder.record([late])
    if isinstance(result, Exception):
        raise result
    return result


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
    records = question.records(inputs, references or ())
    deadline = question.deadline
    with bulkhead_of(question.loaded.version.pk).place(question.max_concurrency):
        _answer_all(question, records)
        with statements.limited_by(deadline and deadline.at):
            if failed := {place: record for place, record in enumerate(records) if record.error}:
                raise _record_failures(failed, len(records))
            if check_answers is not None:
                check_answers([Answer.recorded(record) for record in records])
            recorder.record_all(records, question.claim)
    shadows.follow(question.target.shadow_ids, records)
    return records


def _answer_all(question: Question, records: Sequence[Record]) -> None:
    """Answer all records, or fail those that have no answer at the deadline; see predict_batch."""
    deadline = question.deadline
    try:
        lanes.answer_records(question.loaded, records, all_must_fit=True, deadline=deadline)
    except InvalidInput as error:
        raise _with_paths_below(f"inputs[{error.row}]", error) from error
    if deadline is not None and deadline.has_passed:
        for record in records:
            record.fail(deadline.exceeded())


def predict_each(question: Question, inputs: Sequence[object]) -> list[Record | Exception]:
    """Score inputs and record each on its own; return a result for each, in their order.

    A result is the committed record, failed or not, or the reason why nothing was recorded. The
    deadline counts from now, and what was answered before it is kept.
    """
    question = question.restarted()
    records = question.records(inputs)
    try:
        with bulkhead_of(question.loaded.version.pk).place(question.max_concurrency):
            results = lanes.answer_and_record_together(
                question.loaded, records, deadline=question.deadline
            )
    except ModelOverloaded as error:
        return [error] * len(records)
    shadows.follow(
        question.target.shadow_ids, [result for result in results if isinstance(result, Record)]
    )
    return results


def check_rights(question: Question) -> None:
    """Raise what the recording statement would refuse this question's caller for.

    For requests whose response begins before anything is recorded.
    """
    question.resolve()
    if reason := guards.check(question.caller.identity, question.asked):
        raise reason


def answer_once(
    question: Question, predict: Callable[[], list[Record]]
) -> tuple[Sequence[Record | Prediction], bool]:
    """What `predict` returns or, for a repeated request, the earlier answer; whether it is new.

    The key of a repeated request belongs to the user: it may be sent with another API key, as after
    a rotation, if that may request predictions of the model. Raises what `predict` does, KeyReused
    or PredictionNotFound.
    """
    claim = question.claim
    if claim is None:
        return predict(), True
    with statements.limited_by(math.inf):
        earlier = idempotency.find_answer(claim)
    if earlier is None:
        try:
            return predict(), True
        except AlreadyAnswered:
            earlier = idempotency.find_answer(claim)
    if earlier is None:
        raise KeyReused(f"{idempotency.HEADER} {claim.key!r} expired while it was being used")
    guards.check_scope(question.caller.identity, earlier[0].model.name)
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
    if any(record.is_late for record in records):
        return PredictionTimedOut(message, records, errors)
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
