"""What happens between a request and its committed rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, Self

import orjson
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework_simplejwt.settings import api_settings

from predictions.models import Prediction
from predictions.serving import idempotency, lanes, recorder, routing, shadows
from predictions.serving.idempotency import AlreadyAnswered, Claim, KeyReused
from predictions.serving.lanes import Draft
from predictions.serving.recorder import Record
from predictions.serving.routing import Target
from registry import loader
from registry.exact_json.values import JSONObject
from registry.loader import LoadedModel
from registry.models import ModelVersion
from registry.services import register_model
from registry.signatures.arrangement import InvalidInput, arrange

IMPORT_CHUNK_ROWS = 1000
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


class PredictionUnavailable(PredictionFailed):
    """The model could not be asked, on another server; the failures are recorded all the same."""

    retry_after = 1


def _failure(
    message: str, records: Sequence[Record], errors: Mapping[str, list[str]] | None = None
) -> PredictionFailed:
    waits = [one.retry_after for one in records if one.retry_after is not None]
    if not waits:
        return PredictionFailed(message, records, errors)
    unavailable = PredictionUnavailable(message, records, errors)
    unavailable.retry_after = max(waits)
    return unavailable


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
    model_id: int | None = None,
    model: str | None = None,
    target: Target | None = None,
    input_data: JSONObject,
    metadata: JSONObject | None = None,
    subject: str | None = None,
    reference: str | None = None,
    caller: Caller,
    claim: Claim | None = None,
) -> Record:
    """Score one input by `model_id`, or by what `model` refers to, and return its committed record.

    Who has asked that already gives the `target`, so that it stays the same.

    Raises ModelNotFound, ArtifactMissing, ModelNotReady, InvalidInput (its paths below
    `input_data`), CallerInactive, AlreadyAnswered or PredictionFailed; only the last leaves a
    record.
    """
    target = target or target_of(model_id=model_id, model=model, subject=subject, caller=caller)
    loaded = loader.get(target.model_id)
    try:
        inputs = arrange(loaded.signature, [input_data])
    except InvalidInput as error:
        raise _placed(error, "input_data") from error
    record = _record(loaded, input_data, metadata, caller, target, subject, reference, claim)
    if model_id is None or claim is not None:
        # There was a query, and whoever commits for all who wait may need the connection.
        loader.release_connection()
    record = lanes.join(Draft(loaded, record, inputs))
    if target.shadow_ids:
        shadows.follow(target.shadow_ids, [record])
    if record.error:
        raise _failure(f"Model {loaded.version.pk} failed on this input: {record.error}", [record])
    return record


def predict_batch(
    *,
    model_id: int | None = None,
    model: str | None = None,
    target: Target | None = None,
    inputs: Sequence[JSONObject],
    metadata: JSONObject | None = None,
    subject: str | None = None,
    references: Sequence[str | None] | None = None,
    caller: Caller,
    claim: Claim | None = None,
) -> list[Record]:
    """Score inputs in one call and return their records in the same order, committed all or none.

    All are about one subject, so that one version answers. Raises what `predict` does, with paths
    below `inputs[i]`; where the model fails on some inputs, the records of those alone are left.
    """
    # Each record holds the metadata: a small body must not ask for gigabytes of them.
    copied = len(orjson.dumps(metadata)) * len(inputs)
    if metadata is not None and copied > settings.MAX_REQUEST_BYTES:
        message = f"Takes {copied} bytes in all records, where {settings.MAX_REQUEST_BYTES} may be."
        raise InvalidInput(0, {"metadata": [message]})
    target = target or target_of(model_id=model_id, model=model, subject=subject, caller=caller)
    loaded = loader.get(target.model_id)
    try:
        arranged = arrange(loaded.signature, inputs)
    except InvalidInput as error:
        raise _placed(error, f"inputs[{error.row}]") from error
    records = [
        _record(loaded, input_data, metadata, caller, target, subject, reference)
        for input_data, reference in zip(
            inputs, references or repeat(None, len(inputs)), strict=True
        )
    ]
    lanes.score(records, arranged, loaded)
    failed = {i: record for i, record in enumerate(records) if record.error}
    if failed:
        raise _record_failures(failed, len(records))
    recorder.record_all(records, claim)
    if target.shadow_ids:
        shadows.follow(target.shadow_ids, records)
    return records


def _record_failures(failed: Mapping[int, Record], n_inputs: int) -> PredictionFailed:
    for outcome in recorder.record(list(failed.values())):
        if isinstance(outcome, Exception):
            raise outcome
    model = next(iter(failed.values())).model
    return _failure(
        f"Model {model.pk} failed on {len(failed)} of {n_inputs} inputs, none was answered",
        list(failed.values()),
        errors={f"inputs[{i}]": [failed[i].error] for i in list(failed)[:MAX_SHOWN]},
    )


def answer_once(
    claim: Claim | None, predict: Callable[[], list[Record]]
) -> tuple[Sequence[Record | Prediction], bool]:
    """What `predict` gives, or what this request was answered with before; and whether it is new.

    Raises what `predict` does, KeyReused or PredictionNotFound.
    """
    if claim is None:
        return predict(), True
    found = idempotency.find_answer(claim)
    if found is None:
        try:
            return predict(), True
        except AlreadyAnswered:
            found = idempotency.find_answer(claim)
    if found is None:
        raise KeyReused(f"{idempotency.HEADER} {claim.key!r} expired meanwhile")
    return found, False


def draft_of(model: LoadedModel, input_data: Any, *, target: Target, caller: Caller) -> Draft:
    """A draft of one input; raises InvalidInput."""
    inputs = arrange(model.signature, [input_data])
    return Draft(model, _record(model, input_data, None, caller, target), inputs)


def target_of(
    *,
    model_id: int | None = None,
    model: str | None = None,
    subject: str | None = None,
    caller: Caller,
) -> Target:
    """Who answers; without a subject, each request is one of its own. Raises ModelNotFound."""
    if model_id is not None:
        return Target(model_id)
    assert model is not None  # the callers see to it that one is given
    return routing.resolve(model, subject=subject or caller.request_id)


def _record(
    model: LoadedModel,
    input_data: Any,
    metadata: JSONObject | None,
    caller: Caller,
    target: Target,
    subject: str | None = None,
    reference: str | None = None,
    claim: Claim | None = None,
) -> Record:
    return Record(
        model.version,
        input_data,
        metadata,
        caller.request_id,
        caller.user_id,
        caller.password_md5,
        reference,
        subject,
        target.alias,
        target.arm,
        _claim=claim,
    )


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
