"""/api/v1/models/{id}/invocations/: compatible with /invocations of `mlflow models serve`."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.conf import settings
from django.http import HttpResponse
from django.utils.http import parse_header_parameters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from predictions.authentication import CachedTokenAuthentication
from predictions.mlflow.bodies import Invocation, read_body, read_csv
from predictions.mlflow.responses import predictions_of, style_of
from predictions.ndjson import body_length
from predictions.serializers import TIMEOUT_PARAMETER
from predictions.serving import services
from predictions.serving.answers import Answer
from predictions.serving.questions import Caller, Question
from predictions.serving.services import PredictionFailed
from registry.artifacts.mlflow_folder import MLFLOW_TAG
from registry.exact_json.values import JSONObject, check_json
from registry.signatures.signature import Signature
from registry.signatures.validation import InvalidInput

CSV = "text/csv"
_ROW = {"oneOf": [{"type": "array", "items": {}}, {"type": "object"}]}
_ROWS = {"type": "array", "items": _ROW, "minItems": 1}
BODY: JSONObject = {
    "type": "object",
    "description": "Exactly one of the formats of MLflow's scoring server.",
    "properties": {
        "dataframe_split": {
            "type": "object",
            "properties": {
                "columns": {"type": "array", "items": {"type": "string"}},
                "index": {"type": "array", "items": {}},
                "data": {"type": "array", "items": {"type": "array", "items": {}}, "minItems": 1},
            },
            "required": ["data"],
        },
        "dataframe_records": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "instances": _ROWS,
        "inputs": {"oneOf": [_ROWS, {"type": "object", "additionalProperties": {"type": "array"}}]},
        "params": {"type": "object", "maxProperties": 0},
    },
    "example": {
        "dataframe_split": {"columns": ["age", "city"], "data": [[20.5, "Oslo"], [31.0, "Rome"]]}
    },
}
RESPONSE: JSONObject = {
    "type": "object",
    "properties": {
        "predictions": {
            "description": "A label or value for each row; for an ONNX model, its outputs by name.",
            "example": ["yes", "no"],
        }
    },
    "required": ["predictions"],
}


class CSVText(str):
    """A body that came as CSV, to tell it from a JSON body that is one string."""


class CSVParser(BaseParser):
    """CSV as text, up to MAX_REQUEST_BYTES."""

    media_type = CSV

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body_length((parser_context or {})["request"], limit_bytes=settings.MAX_REQUEST_BYTES)
        _require_plain_csv(media_type or CSV)
        try:
            text = stream.read().decode("utf-8-sig")
            check_json(text)
        except ValueError as error:
            raise ParseError(f"The body is not valid CSV in UTF-8: {error}") from error
        return CSVText(text)


def _require_plain_csv(content_type: str) -> None:
    """Raise ParseError for a parameter of the content type (RFC 4180) that is not honoured."""
    _, parameters = parse_header_parameters(content_type)
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in ("utf-8", "us-ascii"):
        raise ParseError(f"CSV must be in UTF-8, not {charset[:40]}")
    if parameters.get("header", "present").lower() != "present":
        raise ParseError("CSV must have a header with the names of the columns")


class InvocationsView(APIView):
    """Scores the request bodies of `mlflow models serve`: its callers change only the URL."""

    parser_classes = [*api_settings.DEFAULT_PARSER_CLASSES, CSVParser]  # type: ignore[list-item]

    def get_authenticators(self) -> list[BaseAuthentication]:
        # As for every prediction, the recording statement checks that the user is active.
        return [CachedTokenAuthentication()]

    @extend_schema(
        operation_id="models_invocations",
        parameters=[TIMEOUT_PARAMETER],
        request={"application/json": BODY, CSV: OpenApiTypes.STR},
        responses={(200, "application/json"): RESPONSE, 409: None, 422: None, 504: None},
    )
    def post(self, request: Request, pk: str) -> HttpResponse:
        """Score all rows or none. A 200 means that every prediction is committed."""
        question = Question(caller=Caller.of(request), model_id=int(pk))
        model = question.loaded
        invocation = _read(request.data, model.signature)
        try:
            records = services.predict_batch(question, invocation.inputs)
        except InvalidInput as error:
            raise InvalidInput(error.row, invocation.in_body(error.errors)) from error
        except PredictionFailed as error:
            error.errors = invocation.in_body(error.errors)
            raise
        # The tags may have been edited since; they decide only the form of the response.
        origin = model.version.tags.get(MLFLOW_TAG)
        predictions = predictions_of(
            [Answer.recorded(record) for record in records],
            model.signature,
            style_of(origin if isinstance(origin, dict) else {}, is_frame=invocation.is_frame),
        )
        body = orjson.dumps({"predictions": predictions})
        return HttpResponse(body, content_type="application/json")


def _read(data: object, signature: Signature) -> Invocation:
    limit = settings.MAX_BATCH_ROWS
    if isinstance(data, CSVText):
        return read_csv(data, signature, limit=limit)
    return read_body(data, signature, limit=limit)
