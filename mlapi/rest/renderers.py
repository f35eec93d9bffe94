"""Response bodies in JSON by orjson, without content negotiation."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import orjson
from django.utils.functional import Promise
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


class FixedContentNegotiation(BaseContentNegotiation):
    """Ignores Accept and uses the view's first renderer; selects the parser by media type."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type or ""


class JSONRenderer(BaseRenderer):
    """JSON in UTF-8; UTC times end in Z. Raises ValueError for NaN and infinity."""

    media_type = "application/json"
    format = "json"
    # JSON is always UTF-8, and its media type has no charset parameter.
    charset = None

    def render(
        self,
        data: object,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, object] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        try:
            body = orjson.dumps(data, default=_plain, option=OPTIONS)
        except orjson.JSONEncodeError:
            # Integers above 64 bits, which PostgreSQL returns for 1e20: exact, but slower.
            return json.dumps(data, default=_plain, allow_nan=False, ensure_ascii=False).encode()
        # orjson writes NaN as null, so that only a body with a null needs the check.
        if b"null" in body and not _is_finite(data):
            raise ValueError("A response must not contain NaN or infinity")
        return body


def _plain(value: object) -> object:
    if isinstance(value, Promise | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(_is_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(item) for item in value)
    return True
