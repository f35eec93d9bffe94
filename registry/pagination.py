"""Lists, newest first: skip and limit for a start, and a Link header that pages by key."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
# The database walks over every skipped row.
MAX_SKIP = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The first and last instant a datetime can hold, so that a forged cursor is a 400 and no overflow.
MIN_MICROSECONDS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
MAX_MICROSECONDS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
MAX_ID = 2**63 - 1


class KeysetPagination(BasePagination):
    """Pages of rows that have `created_at`, newest first, each found by the last one's key.

    The body is a plain list. A `Link: <...>; rel="next"` header leads on while there is more. The
    rows are never counted.
    """

    parameter_names = frozenset({"skip", "limit", "cursor"})

    _next_link: str | None = None

    def paginate_queryset(
        self,
        queryset: QuerySet[Any] | Sequence[Any],
        request: Request,
        view: APIView | None = None,
    ) -> list[Any]:
        """One page; raises ValidationError by parameter."""
        assert isinstance(queryset, QuerySet)
        limit = _bounded(request, "limit", DEFAULT_LIMIT, minimum=1, maximum=MAX_LIMIT)
        skip = _skip(request)
        rows = queryset.order_by("-created_at", "-id")
        if (cursor := request.query_params.get("cursor")) is not None:
            rows = rows.filter(_after(cursor))
        # One row more than the page tells whether there is a next one.
        page = list(rows[skip : skip + limit + 1])
        if len(page) > limit:
            page.pop()
            self._next_link = _link(request, page[-1])
        return page

    def get_paginated_response(self, data: Any) -> Response:
        headers = {"Link": f'<{self._next_link}>; rel="next"'} if self._next_link else None
        return Response(data, headers=headers)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return schema

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        skip = {"type": "integer", "minimum": 0, "maximum": MAX_SKIP, "default": 0}
        return [
            _parameter("limit", "Rows a page.", limit),
            _parameter("skip", "Rows to pass over; to go deeper, follow the Link header.", skip),
            _parameter("cursor", "Where a page begins: from the Link header.", {"type": "string"}),
        ]


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _skip(request: Request) -> int:
    if "cursor" in request.query_params and "skip" in request.query_params:
        raise ValidationError({"skip": ["Cannot be combined with cursor."]})
    try:
        return _bounded(request, "skip", 0, minimum=0, maximum=MAX_SKIP)
    except ValidationError as error:
        if re.fullmatch(r"[0-9]{5,}", request.query_params["skip"]):
            raise ValidationError(
                {"skip": [f"Must be at most {MAX_SKIP}: go on by the Link header of a page."]}
            ) from error
        raise


def _bounded(request: Request, name: str, default: int, *, minimum: int, maximum: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    # Not int() alone: it takes signs, blanks, underscores and other scripts' digits.
    if re.fullmatch(r"[0-9]{1,9}", text) and minimum <= int(text) <= maximum:
        return int(text)
    raise ValidationError({name: [f"Must be a whole number from {minimum} to {maximum}."]})


def _link(request: Request, last: Model) -> str:
    """The address of the page after `last`: same path, same filters."""
    query = request.query_params.copy()
    query.pop("skip", None)
    query["cursor"] = encode_cursor(last.created_at, last.pk)  # type: ignore[attr-defined]
    return request.build_absolute_uri(f"{request._request.path}?{query.urlencode()}")


def encode_cursor(created_at: datetime, pk: int) -> str:
    """The position after a row. Microseconds as an integer: both databases keep exactly those."""
    key = f"{(created_at - EPOCH) // MICROSECOND}.{pk}"
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _after(cursor: str) -> Q:
    created_at, pk = _decode(cursor)
    # The first condition is redundant in logic; it is the one an index can begin a range with.
    return Q(created_at__lte=created_at) & (Q(created_at__lt=created_at) | Q(id__lt=pk))


def _decode(cursor: str) -> tuple[datetime, int]:
    try:
        key = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError):
        key = ""
    match = re.fullmatch(r"(-?[0-9]{1,18})\.([0-9]{1,19})", key)
    if match:
        microseconds, pk = int(match[1]), int(match[2])
        if MIN_MICROSECONDS <= microseconds <= MAX_MICROSECONDS and pk <= MAX_ID:
            return EPOCH + timedelta(microseconds=microseconds), pk
    raise ValidationError({"cursor": ["Is not one of this API's Link headers."]})
