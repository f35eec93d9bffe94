"""Documents errors and tokens in the OpenAPI schema, in one place for all operations."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from django.urls import reverse
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction
from rest_framework.request import Request

from mlapi.error_format import MEDIA_TYPE, has_protocol_errors

# A part of an OpenAPI document, as drf-spectacular passes it around.
Document: TypeAlias = dict[str, Any]

PROBLEM_SCHEMA: Document = {
    "type": "object",
    "description": "An error in the format of RFC 9457 (problem details).",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "example": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "As in the header X-Request-ID."},
        "errors": {
            "type": "object",
            "description": "Messages by field, such as `rows[0].age`; only for status 400.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
PROTOCOL_ERROR_SCHEMA: Document = {
    "type": "object",
    "description": "An error in the format of KServe's protocols.",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
PROTOCOL_ERROR_REFERENCE = {"$ref": "#/components/schemas/ProtocolError"}
PROBLEM_REFERENCE = {"$ref": "#/components/schemas/Problem"}
# Bodies with these content types are too large for memory.
WRITTEN_TO_DISK = {"multipart/form-data", "application/x-ndjson"}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "predictions.authentication.TokenAuthentication"
    name = ["bearerAuth", "passwordAuth"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[Document]:
        # Either of the two.
        return [{"bearerAuth": []}, {"passwordAuth": []}]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Document]:
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "description": "An access token, or an API key (`mlapi_…`).",
            },
            {
                "type": "oauth2",
                "description": "An access token for a username and password.",
                "flows": {"password": {"tokenUrl": reverse("token"), "scopes": {}}},
            },
        ]


class StatelessTokenScheme(TokenScheme):  # type: ignore[no-untyped-call]
    """Documents views with stateless authentication like all others: they take the same token."""

    target_class = "predictions.authentication.CachedTokenAuthentication"
    name = []

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Document]:
        return []


class StrictSerializerExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Documents that unknown fields are errors."""

    target_class = "registry.exact_json.serializers.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> Document:
        inspector: Any = auto_schema
        schema = inspector._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


def document_problems(result: Document, **_: object) -> Document:
    """A postprocessing hook that adds the shared error responses and the body of every error.

    A view declares only the statuses of its own errors (`responses={409: None}`).
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
                # A view declares only a content that may take the place of an error.
                own = response.get("content", {}).get("application/json", {}).get("schema")
                response["content"] = _error_content(path, own)
        operation["responses"] = dict(sorted(responses.items()))
    return result


def document_prefix(result: Document, request: Request | None, **_: object) -> Document:
    """A postprocessing hook that names the path below which a proxy serves the API."""
    # There is no request if a command writes the schema.
    if request is not None and (prefix := request.META.get("SCRIPT_NAME")):
        result["servers"] = [{"url": prefix}]
    return result


def _error_content(path: str, own: Document | None) -> Document:
    if has_protocol_errors(path):
        schema = {"anyOf": [own, PROTOCOL_ERROR_REFERENCE]} if own else PROTOCOL_ERROR_REFERENCE
        return {"application/json": {"schema": schema}}
    content: Document = {MEDIA_TYPE: {"schema": PROBLEM_REFERENCE}}
    return {**content, "application/json": {"schema": own}} if own else content


def _operations(result: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in result["paths"].items():
        for operation in methods.values():
            yield path, operation


def _shared_statuses(path: str, operation: Document) -> Iterator[HTTPStatus]:
    parameters = operation.get("parameters", [])
    if "requestBody" in operation:
        yield HTTPStatus.BAD_REQUEST
        yield HTTPStatus.REQUEST_TIMEOUT
        yield HTTPStatus.LENGTH_REQUIRED
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        if WRITTEN_TO_DISK & operation["requestBody"]["content"].keys():
            yield HTTPStatus.INSUFFICIENT_STORAGE
    elif any(parameter["in"] == "query" for parameter in parameters):
        yield HTTPStatus.BAD_REQUEST
    if any(operation.get("security", ())):
        yield HTTPStatus.UNAUTHORIZED
        yield HTTPStatus.FORBIDDEN
    if "{" in path:
        yield HTTPStatus.NOT_FOUND
    yield HTTPStatus.INTERNAL_SERVER_ERROR
    yield HTTPStatus.SERVICE_UNAVAILABLE
