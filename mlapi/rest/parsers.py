"""Parsers of request bodies: the length is checked before reading, and JSON is read exactly."""

from collections.abc import Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser as DjangoMultiPartParser
from django.http.multipartparser import MultiPartParserError
from rest_framework import parsers
from rest_framework.exceptions import APIException, ParseError

from registry.exact_json.values import parse_json_body


class PayloadTooLarge(APIException):
    status_code = 413
    default_detail = "The request body is too large."
    default_code = "payload_too_large"


class JSONParser(parsers.BaseParser):
    """JSON whose values can be stored exactly, else 400; above MAX_REQUEST_BYTES 413."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        check_length(parser_context, settings.MAX_REQUEST_BYTES)
        try:
            return parse_json_body(stream.read())
        except ValueError as error:
            raise ParseError(f"The body is not acceptable JSON: {error}") from error


class FormParser(parsers.BaseParser):
    """A form as browsers and OAuth2 clients send it, in UTF-8; above MAX_REQUEST_BYTES 413."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> QueryDict:
        check_length(parser_context, settings.MAX_REQUEST_BYTES)
        try:
            return QueryDict(stream.read().decode("utf-8"), encoding="utf-8")
        except (UnicodeDecodeError, SuspiciousOperation) as error:
            raise ParseError(f"The body is not an acceptable form: {error}") from error


class NamedFilesParser(DjangoMultiPartParser):
    """Refuses a file whose name is a path; Django would keep the last part of it."""

    def sanitize_file_name(self, file_name: str) -> str | None:
        if "/" in file_name or "\\" in file_name:
            raise MultiPartParserError(f"the file name {file_name[:100]!r} must not be a path")
        return super().sanitize_file_name(file_name)


class MultiPartParser(parsers.MultiPartParser):
    """Multipart forms with a file; raises PayloadTooLarge or ParseError.

    FILE_UPLOAD_HANDLERS receive the files.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        check_length(parser_context, settings.MAX_ARTIFACT_BYTES + settings.MAX_REQUEST_BYTES)
        request = (parser_context or {})["request"]
        meta = {**request.META, "CONTENT_TYPE": media_type}
        handlers = request.upload_handlers
        try:
            form = NamedFilesParser(meta, cast(Any, stream), handlers, settings.DEFAULT_CHARSET)
            return parsers.DataAndFiles(*form.parse())
        except BaseException as error:
            # Django notifies the handlers of a body that ends early, but of no other failure.
            for handler in handlers:
                handler.upload_interrupted()
            if isinstance(error, MultiPartParserError):
                raise ParseError(f"The body is not an acceptable form: {error}") from error
            raise


def check_length(parser_context: Mapping[str, Any] | None, limit_bytes: int) -> None:
    """Raise PayloadTooLarge if the Content-Length is above the limit."""
    request = (parser_context or {})["request"]
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > limit_bytes:
        raise PayloadTooLarge(f"The request body has {length} bytes; the limit is {limit_bytes}.")
