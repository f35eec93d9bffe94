"""What the OpenAPI schema says of errors and tokens, for all operations in one place."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from mlapi.problems import MEDIA_TYPE, is_open_inference

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An error, as RFC 9457 describes it.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "example": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "Also the answer's X-Request-ID."},
        "errors": {
            "type": "object",
            "description": "Messages by field, such as `rows[0].age`; 400 only.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
PROTOCOL_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An error, as the Open Inference Protocol describes it.",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
PROTOCOL_ERROR_REFERENCE = {"$ref": "#/components/schemas/ProtocolError"}
PROBLEM_REFERENCE = {"$ref": "#/components/schemas/Problem"}


class StatelessTokenScheme(OpenApiAuthenticationExtension):
    """Shows views that read the token alone like all others: it is the same token."""

    target_class = "predictions.authentication.CachedTokenAuthentication"
    name: list[str] = []

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[Any]]:
        return {"jwtAuth": []}

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return []


def document_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: the answers every operation can give, and the shape of them all.

    A view declares what only it can answer (`responses={409: None}`); the body is added here.
    """
    schemas = result["components"].setdefault("schemas", {})
    schemas |= {"Problem": PROBLEM_SCHEMA, "ProtocolError": PROTOCOL_ERROR_SCHEMA}
    for path, operation in _operations(result):
        responses = operation["responses"]
        for status in _shared_statuses(path, operation):
            responses.setdefault(str(status), {})
        for code, response in responses.items():
            if code.isdigit() and int(code) >= HTTPStatus.BAD_REQUEST:
                response["description"] = HTTPStatus(int(code)).phrase
                response["content"] = _error_content(path)
        operation["responses"] = dict(sorted(responses.items()))
    return result


def _error_content(path: str) -> dict[str, Any]:
    if is_open_inference(path):
        return {"application/json": {"schema": PROTOCOL_ERROR_REFERENCE}}
    return {MEDIA_TYPE: {"schema": PROBLEM_REFERENCE}}


def _operations(result: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in result["paths"].items():
        for operation in methods.values():
            yield path, operation


def _shared_statuses(path: str, operation: dict[str, Any]) -> Iterator[HTTPStatus]:
    parameters = operation.get("parameters", [])
    if "requestBody" in operation:
        yield HTTPStatus.BAD_REQUEST
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    elif any(parameter["in"] == "query" for parameter in parameters):
        yield HTTPStatus.BAD_REQUEST
    if any(operation.get("security", ())):
        yield HTTPStatus.UNAUTHORIZED
    if "{" in path:
        yield HTTPStatus.NOT_FOUND
    yield HTTPStatus.INTERNAL_SERVER_ERROR
    yield HTTPStatus.SERVICE_UNAVAILABLE
