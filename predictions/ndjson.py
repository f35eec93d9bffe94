"""Batches of any length as NDJSON: one `input_data` a line in, one result a line out.

The body is on disk before the first line of the answer leaves, because a client may write all of
it before it reads. It is then scored and committed chunk by chunk, in constant memory.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from predictions.models import Prediction
from predictions.serving import shadows
from predictions.serving.lanes import Draft, score_and_record
from predictions.serving.recorder import Record
from predictions.serving.routing import Target
from predictions.serving.services import Caller, draft_of
from registry import loader
from registry.exact_json.values import parse_json
from registry.loader import LoadedModel
from registry.signatures.arrangement import InvalidInput

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/x-ndjson"
CHUNK_LINES = 1000
COPY_BYTES = 2**16


class LengthRequired(APIException):
    status_code = 411
    default_detail = "The body needs a Content-Length."


class BodyTooLarge(APIException):
    status_code = 413
    default_detail = "The body is too large."


def body_length(request: HttpRequest | Request, *, limit_bytes: int) -> int:
    """What Content-Length announces; raises LengthRequired, BodyTooLarge or, for an empty body,
    ParseError.

    DRF asks no parser about a body without a length.
    """
    announced = request.META.get("CONTENT_LENGTH") or ""
    if not announced.isdecimal():
        raise LengthRequired
    if int(announced) == 0:
        raise ParseError("The body is empty: it needs one input a line.")
    if (length := int(announced)) > limit_bytes:
        raise BodyTooLarge(f"The body is {length} bytes, where {limit_bytes} are allowed.")
    return length


class NDJSONParser(BaseParser):
    """Copies the body to a temporary file and gives that, at its beginning; at most
    MAX_NDJSON_BYTES.
    """

    media_type = MEDIA_TYPE

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request = (parser_context or {})["request"]
        length = body_length(request, limit_bytes=settings.MAX_NDJSON_BYTES)
        # Closed with the response; until then it has no name that could be left behind.
        file = tempfile.TemporaryFile()  # noqa: SIM115
        while chunk := stream.read(COPY_BYTES):
            file.write(chunk)
        if file.tell() != length:
            file.close()
            raise ParseError("The body ended before its Content-Length.")
        file.seek(0)
        return file


def stream_results(
    model: LoadedModel, body: IO[bytes], *, target: Target, caller: Caller
) -> Iterator[bytes]:
    """One line for each line of `body`, once its chunk is committed, and a last one that sums up.

    A line that can not be scored is answered in its place and stops nothing. Where the database
    goes away the summary comes early and says so; an answer without a summary was cut.
    """
    counts = {"lines": 0, "succeeded": 0, "failed": 0, "rejected": 0}
    reason = ""
    with body:
        try:
            while lines := _read_chunk(body):
                for result in _results(lines, model, counts["lines"], target, caller):
                    counts["lines"] += 1
                    counts[result.get("status", "rejected")] += 1
                    yield orjson.dumps(result) + b"\n"
        except (OperationalError, InterfaceError):
            logger.exception("The database went away in the middle of an NDJSON answer")
            reason = "The database is unavailable; the lines after the last result may be recorded."
    summary = {**counts, "complete": not reason, **({"error": reason} if reason else {})}
    yield orjson.dumps({"summary": summary}) + b"\n"


def _read_chunk(body: IO[bytes]) -> list[bytes]:
    """The next lines: CHUNK_LINES, or fewer where they are as long as another request may be."""
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
    """The next line; of one that is longer than any other request, enough to tell that it is."""
    limit = settings.MAX_REQUEST_BYTES + 1
    line = rest = body.readline(limit)
    while len(rest) == limit and not rest.endswith(b"\n"):
        rest = body.readline(limit)
    return line


def _results(
    lines: list[bytes],
    model: LoadedModel,
    start: int,
    target: Target,
    caller: Caller,
) -> Iterator[dict[str, Any]]:
    drafts = [_draft(line, model, target, caller) for line in lines]
    valid = [draft for draft in drafts if isinstance(draft, Draft)]
    outcomes = list(score_and_record(valid) if valid else ())
    # The client may be slow to read them.
    loader.release_connection()
    if target.shadow_ids:
        shadows.follow(target.shadow_ids, [one for one in outcomes if isinstance(one, Record)])
    answers = iter(outcomes)
    for number, draft in enumerate(drafts, start=start + 1):
        outcome = next(answers) if isinstance(draft, Draft) else draft
        yield {"line": number, **_result(outcome)}


def _draft(line: bytes, model: LoadedModel, target: Target, caller: Caller) -> Draft | Exception:
    if len(line) > settings.MAX_REQUEST_BYTES:
        return ValueError(f"Is longer than {settings.MAX_REQUEST_BYTES} bytes.")
    try:
        input_data = parse_json(line)
        return draft_of(model, input_data, target=target, caller=caller)
    except ValueError as error:
        return error


def _result(outcome: Record | Exception) -> dict[str, Any]:
    if isinstance(outcome, InvalidInput):
        return {"errors": outcome.errors}
    if isinstance(outcome, DatabaseError):
        logger.error("A line could not be recorded", exc_info=outcome)
        return {"error": "Could not be recorded."}
    if isinstance(outcome, Exception):
        return {"error": str(outcome)}
    row = {"id": outcome.pk, "status": outcome.status}
    if outcome.status == Prediction.Status.FAILED:
        return {**row, "error": outcome.error}
    return {
        **row,
        "prediction": outcome.prediction,
        "confidence": outcome.confidence,
        "output": outcome.output,
    }
