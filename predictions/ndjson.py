"""Batches of any length as NDJSON: one `input_data` per line in, one result per line out.

The body is on disk before the first line of the response is sent, because a client may write all of
it before it reads. It is then scored and committed chunk by chunk, in constant memory.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from predictions.models import Prediction
from predictions.serving import services
from predictions.serving.questions import Question
from predictions.serving.records import Record
from registry.artifacts.errors import TEMPORARY_FOLDER, storage_errors
from registry.exact_json.values import BYTE_ORDER_MARK, JSONObject, parse_json
from registry.loading import loader
from registry.signatures.validation import InvalidInput

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/x-ndjson"
# None of these is registered, and libraries differ in which they send.
MEDIA_TYPES = frozenset({
    MEDIA_TYPE,
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
})  # fmt: skip
CHUNK_LINES = 1000
COPY_BYTES = 2**16
# Results are sent in pieces of several lines: a single line hardly compresses.
PIECE_BYTES = 2**16


class LengthRequired(APIException):
    status_code = 411
    default_detail = "The body needs a Content-Length."


class BodyTooLarge(APIException):
    status_code = 413
    default_detail = "The body is too large."


def body_length(request: HttpRequest | Request, *, limit_bytes: int) -> int:
    """The body's Content-Length; raises LengthRequired, BodyTooLarge or, for an empty body,
    ParseError.

    DRF does not call a parser for a body without a length.
    """
    content_length = request.META.get("CONTENT_LENGTH") or ""
    if not content_length.isdecimal():
        raise LengthRequired
    if int(content_length) == 0:
        raise ParseError("The body is empty; it must have one input per line.")
    if (length := int(content_length)) > limit_bytes:
        raise BodyTooLarge(f"The body has {length} bytes; the limit is {limit_bytes}.")
    return length


class NDJSONParser(BaseParser):
    """Copies the body, up to MAX_NDJSON_BYTES, to a temporary file and returns that, at the first
    line's beginning.
    """

    media_type = MEDIA_TYPE

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request = (parser_context or {})["request"]
        body_length(request, limit_bytes=settings.MAX_NDJSON_BYTES)
        with storage_errors(TEMPORARY_FOLDER):
            # Closed with the response. It has no name, so a killed process leaves nothing behind.
            file = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            _copy(stream, file)
        except BaseException:
            # Closing writes what is left in the buffer, for which a full disk has no room either.
            with suppress(OSError):
                file.close()
            raise
        return file


# DRF chooses a parser by its one media type.
PARSERS: list[type[BaseParser]] = [
    type("NDJSONParser", (NDJSONParser,), {"media_type": media_type})
    for media_type in sorted(MEDIA_TYPES)
]


def _copy(stream: IO[bytes], file: IO[bytes]) -> None:
    """Copy the body to `file` and rewind it, past a byte order mark.

    Raises StorageUnavailable or StorageFull.
    """
    while chunk := stream.read(COPY_BYTES):
        with storage_errors(TEMPORARY_FOLDER):
            file.write(chunk)
    with storage_errors(TEMPORARY_FOLDER):
        file.seek(0)
        if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            file.seek(0)


def stream_results(question: Question, body: IO[bytes]) -> Iterator[bytes]:
    """A line of results for each line of `body`, sent once its chunk is committed, and a last line
    that sums up. They come in pieces of several lines, each from one chunk.

    A line that cannot be scored gets an error in its place, and the others are still scored. If
    the database goes away, the summary comes early and says so. A response without a summary was
    cut off.
    """
    counts = {"lines": 0, "succeeded": 0, "failed": 0, "rejected": 0}
    reason = ""
    with body:
        try:
            while lines := _read_chunk(body):
                yield from _in_pieces(_result_lines(question, lines, counts))
        except (OperationalError, InterfaceError):
            logger.exception("The database became unavailable in the middle of an NDJSON response")
            reason = "The database is unavailable; the lines after the last result may be recorded."
    summary = {**counts, "complete": not reason, **({"error": reason} if reason else {})}
    yield orjson.dumps({"summary": summary}) + b"\n"


def _result_lines(
    question: Question, lines: list[bytes], counts: dict[str, int]
) -> Iterator[bytes]:
    """The results of a chunk, which are added to the counts."""
    for result in _results(question, lines, first_number=counts["lines"] + 1):
        counts["lines"] += 1
        counts[result.get("status", "rejected")] += 1
        yield orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)


def _in_pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, joined until they have PIECE_BYTES."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _read_chunk(body: IO[bytes]) -> list[bytes]:
    """The next CHUNK_LINES lines; fewer if together they exceed MAX_REQUEST_BYTES."""
    lines: list[bytes] = []
    size = 0
    while len(lines) < CHUNK_LINES and size < settings.MAX_REQUEST_BYTES:
        line = _read_line(body)
        if not line:
            break
        lines.append(line)
        size += len(line)
    return lines


def _read_line(body: IO[bytes]) -> bytes:
    """The next line; of one above MAX_REQUEST_BYTES, only enough to see that it is too long."""
    limit = settings.MAX_REQUEST_BYTES + 1
    line = rest = body.readline(limit)
    while len(rest) == limit and not rest.endswith(b"\n"):
        rest = body.readline(limit)
    return line


def _results(question: Question, lines: list[bytes], *, first_number: int) -> Iterator[JSONObject]:
    inputs = [_parse(line) for line in lines]
    valid = [parsed for parsed in inputs if not isinstance(parsed, ValueError)]
    results = iter(services.predict_each(question, valid))
    # The client may read the results slowly.
    loader.release_connection()
    for number, parsed in enumerate(inputs, start=first_number):
        result = parsed if isinstance(parsed, ValueError) else next(results)
        yield {"line": number, **_result(result)}


def _parse(line: bytes) -> object:
    """The line's `input_data`, or the ValueError that says why it has none."""
    if len(line) > settings.MAX_REQUEST_BYTES:
        return ValueError(f"Is longer than {settings.MAX_REQUEST_BYTES} bytes.")
    try:
        return parse_json(line)
    except ValueError as error:
        return error


def _result(result: Record | Exception) -> JSONObject:
    if isinstance(result, InvalidInput):
        return {"errors": result.errors}
    if isinstance(result, DatabaseError):
        logger.error("A line was not recorded", exc_info=result)
        return {"error": "Could not be recorded."}
    if isinstance(result, Exception):
        return {"error": str(result)}
    row = {"id": result.pk, "status": result.status}
    if result.status == Prediction.Status.FAILED:
        return {**row, "error": result.error}
    return {
        **row,
        "prediction": result.prediction,
        "confidence": result.confidence,
        "output": result.output,
        **({"flags": result.flags} if result.flags else {}),
    }
