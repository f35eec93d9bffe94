"""An infer call from its body to its committed rows, and what is told of them."""

from dataclasses import dataclass, field
from typing import Any

import orjson
from django.conf import settings

from predictions.models import MAX_CALLERS_NAME_LENGTH
from predictions.open_inference.rows import response_tensors, rows_from_tensors, select_outputs
from predictions.serving import services
from predictions.serving.idempotency import Claim
from predictions.serving.recorder import Record
from predictions.serving.routing import Target
from predictions.serving.services import Caller, PredictionFailed
from registry import loader
from registry.exact_json.values import JSONObject, check_annotation, parse_json
from registry.open_inference.binary import TensorError
from registry.open_inference.messages import InferRequest, write_response
from registry.signatures.arrangement import InvalidInput
from registry.signatures.signature import Signature

KEY_PARAMETER = "idempotency_key"


@dataclass(frozen=True, slots=True)
class Beside:
    """What the parameters of a request say of its predictions."""

    metadata: JSONObject | None = None
    subject: str | None = None
    reference: str | None = None
    references: list[str | None] | None = field(default=None)


def ask(
    model: str, asked: InferRequest, *, caller: Caller, claim: Claim | None = None
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of the answer of what `model` refers to, each row committed.

    Raises TensorError, InvalidInput with paths below `rows[i]`, and what `services.answer_once`
    raises.
    """
    beside = _read_beside(asked)
    signature: Signature | None = None

    def predict() -> list[Record]:
        nonlocal signature
        target = services.target_of(model=model, subject=beside.subject, caller=caller)
        signature = loader.get(target.model_id).signature
        return _predict(asked, beside, signature, target=target, caller=caller, claim=claim)

    rows, is_new = services.answer_once(claim, predict)
    version = rows[0].model
    if signature is None or not is_new:
        signature = Signature.from_json(version.signature)
    chosen = select_outputs(asked.outputs, signature, is_binary=asked.is_binary)
    about: dict[str, Any] = {
        "model_name": version.name,
        "model_version": version.version,
        "id": caller.request_id if asked.id is None else asked.id,
        # Parameters are scalars.
        "parameters": {"prediction_ids": orjson.dumps([row.pk for row in rows]).decode()},
    }
    tensors = response_tensors(rows, signature, [output for output, _ in chosen])
    return write_response(about, tensors, [is_binary for _, is_binary in chosen])


def _predict(
    asked: InferRequest,
    beside: Beside,
    signature: Signature,
    *,
    target: Target,
    caller: Caller,
    claim: Claim | None,
) -> list[Record]:
    # Before anything is recorded.
    select_outputs(asked.outputs, signature, is_binary=asked.is_binary)
    rows = rows_from_tensors(asked.inputs, signature, max_rows=settings.MAX_BATCH_ROWS)
    references = _references(beside, len(rows))
    try:
        if len(rows) == 1:
            record = services.predict(
                target=target,
                input_data=rows[0],
                metadata=beside.metadata,
                subject=beside.subject,
                reference=references[0] if references else None,
                caller=caller,
                claim=claim,
            )
            return [record]
        return services.predict_batch(
            target=target,
            inputs=rows,
            metadata=beside.metadata,
            subject=beside.subject,
            references=references,
            caller=caller,
            claim=claim,
        )
    except InvalidInput as error:
        raise InvalidInput(
            error.row, {_placed(path): said for path, said in error.errors.items()}
        ) from error
    except PredictionFailed as error:
        error.errors = {_placed(path): said for path, said in error.errors.items()}
        raise


def _placed(path: str) -> str:
    """A path of the services' as one into the tensors, whose rows have no name of their own."""
    if path.startswith("input_data"):
        return "rows[0]" + path.removeprefix("input_data")
    return "rows" + path.removeprefix("inputs") if path.startswith("inputs[") else path


# -- parameters


def _read_beside(asked: InferRequest) -> Beside:
    told = asked.parameters
    if not told:
        return Beside()
    return Beside(
        _metadata(told.get("metadata")),
        _callers_name(told.get("subject"), "subject"),
        _callers_name(told.get("reference"), "reference"),
        _listed_references(told.get("references")),
    )


def _references(beside: Beside, n_rows: int) -> list[str | None] | None:
    """One a row, or None where there are none; raises TensorError."""
    references = beside.references
    if beside.reference is not None:
        if references is not None or n_rows > 1:
            raise TensorError("reference is for one row; give references, a JSON list of as many")
        return [beside.reference]
    if references is not None and len(references) != n_rows:
        raise TensorError(f"references holds {len(references)}, where there are {n_rows} rows")
    return references


def _metadata(told: object) -> JSONObject | None:
    if told is None:
        return None
    value = _json(told, "metadata")
    if not isinstance(value, dict):
        raise TensorError('metadata must be the JSON text of an object, such as {"batch": 7}')
    try:
        check_annotation(value)
    except ValueError as error:
        raise TensorError(f"metadata: {error}") from error
    return value


def _listed_references(told: object) -> list[str | None] | None:
    if told is None:
        return None
    value = _json(told, "references")
    if not isinstance(value, list):
        raise TensorError('references must be the JSON text of a list, such as ["a", null]')
    return [_callers_name(item, f"references[{i}]") for i, item in enumerate(value)]


def _json(told: object, name: str) -> Any:
    """The value of a JSON text: the protocol's parameters are scalars."""
    if not isinstance(told, str):
        raise TensorError(f"{name} must be JSON in a text")
    try:
        return parse_json(told.encode())
    except ValueError as error:
        raise TensorError(f"{name} is not acceptable as JSON: {error}") from error


def _callers_name(told: object, name: str) -> str | None:
    if told is None:
        return None
    if isinstance(told, str) and 0 < len(told.strip()) <= MAX_CALLERS_NAME_LENGTH:
        return told.strip()
    raise TensorError(f"{name} must be text of 1 to {MAX_CALLERS_NAME_LENGTH} characters")
