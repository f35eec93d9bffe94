"""Gives every view and parser the whole body, decoded and bounded, or an error when it is read."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from mlapi.bodies.codings import CODINGS, Coding, UnknownCoding, read_content_encoding
from mlapi.bodies.streams import body_stream
from mlapi.error_format import Problem
from predictions import ndjson

# The server does not tell a chunked body that was cut off from a complete one. These show it
# themselves: their JSON is not closed, or their tensors are too short.
TYPES_WITH_AN_END = frozenset({"application/json", "application/octet-stream"})

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestBodyMiddleware:
    """Replaces the stream of a request that has a body; answers 415 to an unknown coding, and 411
    to a body whose end cannot be known.

    Nothing is read here: whether the caller may send so much is decided before.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        problem = self._replace_stream(request)
        return self.get_response(request) if problem is None else problem.response(request)

    def _replace_stream(self, request: HttpRequest) -> Problem | None:
        length = _content_length(request)
        if length == 0:
            return None
        try:
            coding = read_content_encoding(request.META.get("HTTP_CONTENT_ENCODING", ""))
        except UnknownCoding as error:
            # RFC 9110, section 12.5.3.
            headers = {"Accept-Encoding": ", ".join(CODINGS)}
            return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error), headers=headers)
        if length is None and not _has_end(request, coding):
            detail = (
                "The body needs a Content-Length; only JSON and compressed bodies may be chunked."
            )
            return Problem(HTTPStatus.LENGTH_REQUIRED, detail)
        limit_bytes = _limit_bytes(request.content_type or "")
        stream = body_stream(
            request.META["wsgi.input"], length=length, coding=coding, limit_bytes=limit_bytes
        )
        # Django's own attribute, which all its ways to a body read.
        request._stream = stream
        if length is None:
            # DRF takes a body without a length for an empty one, and no parser refuses its limit.
            request.META["CONTENT_LENGTH"] = str(limit_bytes)
        return None


def _content_length(request: HttpRequest) -> int | None:
    """The length of the body, 0 without a body, None if it is unknown."""
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text and "HTTP_TRANSFER_ENCODING" in request.META:
        return None
    return int(text) if text.isdecimal() else 0


def _has_end(request: HttpRequest, coding: Coding | None) -> bool:
    """Whether a body of unknown length can be read to its end, and cannot be cut off unnoticed."""
    return bool(request.META.get("wsgi.input_terminated")) and (
        coding is not None or request.content_type in TYPES_WITH_AN_END
    )


def _limit_bytes(content_type: str) -> int:
    """The limit of the parser for this type."""
    if content_type in ndjson.MEDIA_TYPES:
        return int(settings.MAX_NDJSON_BYTES)
    if content_type == "multipart/form-data":
        return int(settings.MAX_ARTIFACT_BYTES + settings.MAX_REQUEST_BYTES)
    return int(settings.MAX_REQUEST_BYTES)
