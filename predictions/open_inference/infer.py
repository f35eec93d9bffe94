"""An infer call: from its parsed request to its committed rows and its response."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson
from django.conf import settings

from predictions.models import MAX_CALLERS_NAME_LENGTH, Prediction
from predictions.open_inference.rows import response_tensors, rows_from_tensors
from predictions.open_inference.selection import Selection, select_outputs
from predictions.open_inference.shapes import may_differ, require_one_shape
from predictions.serving import services
from predictions.serving.answers import Answer
from predictions.serving.idempotency import Claim
from predictions.serving.questions import Caller, Question
from predictions.serving.records import Record
from predictions.serving.services import PredictionFailed
from registry.exact_json.values import JSONObject, check_annotation, parse_json
from registry.models import MAX_TIMEOUT_SECONDS
from registry.open_inference.binary import TensorError
from registry.open_inference.messages import InferRequest, write_response
from registry.signatures.signature import Signature
from registry.signatures.validation import InvalidInput

KEY_PARAMETER = "idempotency_key"


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The caller's options for its predictions, from the parameters of a request."""

    metadata: JSONObject | None = None
    subject: str | None = None
    reference: str | None = None
    references: list[str | None] | None = None


def infer(
    specifier: str, request: InferRequest, caller: Caller, claim: Claim | None = None
) -> tuple[bytes, dict[str, str]]:
    """Score the rows of a request, all or none, and return the response's body and headers.

    Raises TensorError, InvalidInput with paths below `rows[i]`, and what `services.answer_once`
    raises.
    """
    options = _read_options(request)
    if (timeout := request.parameters.get("timeout")) is not None:
        _shorten(caller, timeout)
    question = Question(
        caller=caller,
        model=specifier,
        subject=options.subject,
        metadata=options.metadata,
        claim=claim,
    )
    rows, is_new = services.answer_once(question, lambda: _predict(question, request, options))
    version = rows[0].model
    signature = question.loaded.signature if is_new else Signature.from_json(version.signature)
    return _response(rows, signature, request, caller)


def _predict(question: Question, request: InferRequest, options: RequestOptions) -> list[Record]:
    signature = question.loaded.signature
    # Rejects an unknown output before anything is recorded.
    selected = _selected(request, signature, question.loaded.version.framework)
    rows = rows_from_tensors(
        request.inputs,
        signature,
        max_rows=settings.MAX_BATCH_ROWS,
        is_frame=request.is_frame,
    )
    references = _references_of(options, len(rows))
    try:
        if len(rows) == 1:
            reference = references[0] if references else None
            return [services.predict(question, rows[0], reference=reference)]
        check = None
        if any(may_differ(item.output) for item in selected):
            check = partial(require_one_shape, signature=signature, selected=selected)
        return services.predict_batch(question, rows, references=references, check_answers=check)
    except InvalidInput as error:
        raise InvalidInput(error.row, _with_row_paths(error.errors)) from error
    except PredictionFailed as error:
        error.errors = _with_row_paths(error.errors)
        raise


def _response(
    rows: Sequence[Record | Prediction],
    signature: Signature,
    request: InferRequest,
    caller: Caller,
) -> tuple[bytes, dict[str, str]]:
    version = rows[0].model
    selected = _selected(request, signature, version.framework)
    tensors = response_tensors([Answer.recorded(row) for row in rows], signature, selected)
    # The protocol's parameters are scalars.
    parameters = {"prediction_ids": orjson.dumps([row.pk for row in rows]).decode()}
    if any(row.flags for row in rows):
        parameters["flags"] = orjson.dumps([row.flags for row in rows]).decode()
    envelope = {
        "model_name": version.name,
        "model_version": version.version,
        "id": caller.request_id if request.id is None else request.id,
        "parameters": parameters,
    }
    return write_response(envelope, tensors, [item.is_binary for item in selected])


def _selected(request: InferRequest, signature: Signature, framework: str) -> list[Selection]:
    return select_outputs(
        request.outputs, signature, framework=framework, is_binary=request.is_binary
    )


def _with_row_paths(errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Messages by the services' paths, rewritten to `rows[i]`: tensors do not name rows."""
    return {_row_path(path): messages for path, messages in errors.items()}


def _row_path(path: str) -> str:
    if path.startswith("input_data"):
        return "rows[0]" + path.removeprefix("input_data")
    return "rows" + path.removeprefix("inputs") if path.startswith("inputs[") else path


# -- parameters


def _read_options(request: InferRequest) -> RequestOptions:
    parameters = request.parameters
    if not parameters:
        return RequestOptions()
    return RequestOptions(
        _read_metadata(parameters.get("metadata")),
        _read_text(parameters.get("subject"), "subject"),
        _read_text(parameters.get("reference"), "reference"),
        _read_references(parameters.get("references")),
    )


def _references_of(options: RequestOptions, n_rows: int) -> list[str | None] | None:
    """One reference for each row, or None if the request gives none; raises TensorError."""
    references = options.references
    if options.reference is not None:
        if references is not None or n_rows > 1:
            raise TensorError(
                "reference is only for a single row; give references instead, a JSON list"
            )
        return [options.reference]
    if references is not None and len(references) != n_rows:
        raise TensorError(
            f"references must have one entry for each of the {n_rows} rows, not {len(references)}"
        )
    return references


def _shorten(caller: Caller, timeout: object) -> None:
    """Apply the protocol's `timeout`, in microseconds; 0 sets none, as in Triton."""
    maximum = MAX_TIMEOUT_SECONDS * 1_000_000
    if type(timeout) is not int or not 0 <= timeout <= maximum:
        raise TensorError(
            f"timeout must be a whole number of microseconds from 1 to {maximum}, or 0 for none"
        )
    if timeout:
        caller.shorten(timeout / 1_000_000)


def _read_metadata(text: object) -> JSONObject | None:
    if text is None:
        return None
    value = _parse_json_text(text, "metadata")
    if not isinstance(value, dict):
        raise TensorError('metadata must be the JSON text of an object, such as {"batch": 7}')
    try:
        check_annotation(value)
    except ValueError as error:
        raise TensorError(f"metadata: {error}") from error
    return value


def _read_references(text: object) -> list[str | None] | None:
    if text is None:
        return None
    value = _parse_json_text(text, "references")
    if not isinstance(value, list):
        raise TensorError('references must be the JSON text of a list, such as ["a", null]')
    return [_read_text(item, f"references[{i}]") for i, item in enumerate(value)]


def _parse_json_text(text: object, name: str) -> object:
    if not isinstance(text, str):
        raise TensorError(f"{name} must be a string that contains JSON")
    try:
        parsed: object = parse_json(text.encode())
    except ValueError as error:
        raise TensorError(f"{name} is not valid JSON: {error}") from error
    return parsed


def _read_text(value: object, name: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value.strip()) <= MAX_CALLERS_NAME_LENGTH:
        return value.strip()
    raise TensorError(f"{name} must be text of 1 to {MAX_CALLERS_NAME_LENGTH} characters")
