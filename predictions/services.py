"""What happens between a request and its committed rows."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from django.db import connection, transaction
from rest_framework.request import Request

from predictions import inference, recorder
from predictions.metrics import INFERENCE_SECONDS
from predictions.models import Prediction
from registry import loader
from registry.arrangement import InvalidInput
from registry.jsonvalues import JSONObject
from registry.models import ModelVersion
from registry.runtimes.base import InferenceError
from registry.services import register_model

IMPORT_CHUNK_ROWS = 1000


class PredictionFailed(Exception):
    """The model failed on an input that fits its signature; the failure is recorded."""

    def __init__(self, prediction: Prediction) -> None:
        super().__init__(f"Model {prediction.model_id} failed on this input: {prediction.error}")
        self.extensions = {"prediction_id": prediction.pk}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked; a command has no user."""

    user_id: int | None = None
    request_id: str = ""

    @classmethod
    def of(cls, request: Request) -> Self:
        return cls(request.user.pk, getattr(request, "request_id", ""))


def predict(
    *,
    model_id: int,
    input_data: JSONObject,
    metadata: JSONObject | None = None,
    caller: Caller,
) -> Prediction:
    """Score one input and return its committed record.

    Raises ModelNotFound, ArtifactMissing, ModelNotReady, InvalidInput (its paths below
    `input_data`) or PredictionFailed; only the last leaves a record.
    """
    version = ModelVersion.objects.resolve(model_id)
    model = loader.get(version)
    _release_connection()
    row = Prediction(
        model=version,
        input_data=input_data,
        metadata=metadata,
        request_id=caller.request_id,
        user_id=caller.user_id,
    )
    started = time.perf_counter()
    try:
        [answer] = inference.score(model, [input_data])
    except InvalidInput as error:
        raise _placed(error, "input_data") from error
    except InferenceError as error:
        recorder.record(row.fail(error, latency_ms=_milliseconds_since(started)))
        raise PredictionFailed(row) from error
    latency_ms = _milliseconds_since(started)
    INFERENCE_SECONDS.labels(str(version)).observe(latency_ms / 1000)
    return recorder.record(
        row.complete(
            prediction=answer.prediction,
            confidence=answer.confidence,
            output=answer.output,
            latency_ms=latency_ms,
        )
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


def _release_connection() -> None:
    """Give a pooled connection back: a slow model must not sit on one that others wait for."""
    if getattr(connection, "pool", None) is not None and not connection.in_atomic_block:
        connection.close()


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _placed(error: InvalidInput, where: str) -> InvalidInput:
    """The same error with its paths as the caller's body has them."""
    return InvalidInput(
        error.row,
        {f"{where}.{path}" if path else where: said for path, said in error.errors.items()},
    )
