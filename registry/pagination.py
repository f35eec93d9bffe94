"""Pages of a list by key: the `Link` header of each page names the key at which the next begins."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.exact_json.values import JSONObject

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
# The database reads every row that it skips.
MAX_SKIP = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The range of datetime, so that a forged cursor is a 400 and not an OverflowError.
MIN_MICROSECONDS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
MAX_MICROSECONDS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
# The largest primary key; drivers reject larger integers.
MAX_ID = 2**63 - 1

Row = TypeVar("Row", bound=Model)
# What iterating over a queryset yields: a row, unless it uses values_list().
Item = TypeVar("Item")


class KeysetPagination(BasePagination):
    """Pages of rows sorted by `created_at` (or another `time_field`) and `id`, newest first.

    The body is a plain list. While there are more rows, a `Link: <...>; rel="next"` header holds
    the address of the next page. The rows are never counted, and a page costs the same however deep
    it lies. A list in another order overrides `sort`, `encode_cursor` and `rows_after`.
    """

    takes_skip = True
    time_field = "created_at"

    _next_link: str | None = None

    @property
    def parameter_names(self) -> frozenset[str]:
        """The query parameters that belong to the paginator, for the strict filter backend."""
        return frozenset({"limit", "cursor"} | ({"skip"} if self.takes_skip else set()))

    def sort(self, rows: QuerySet[Row, Item]) -> QuerySet[Row, Item]:
        return rows.order_by(f"-{self.time_field}", "-id")

    def encode_cursor(self, row: object, rows: QuerySet[Row, Item]) -> str:
        """The position after `row`, which is one of `rows`."""
        return encode_cursor(*attrgetter(self.time_field, "pk")(row))

    def rows_after(self, cursor: str, rows: QuerySet[Row, Item]) -> QuerySet[Row, Item]:
        """Those of `rows` that follow the cursor; raises ValidationError for a forged cursor."""
        time, pk = _decode_cursor(cursor)
        # The first condition follows from the second; it is the one an index range can begin with.
        return rows.filter(
            Q(**{f"{self.time_field}__lte": time}),
            Q(**{f"{self.time_field}__lt": time}) | Q(id__lt=pk),
        )

    def last_row_looked_at(self, rows: QuerySet[Row, Item], request: Request) -> object | None:
        """A row at which the page ends, full or not, so that its costs are bounded."""
        return None

    def rows_until(self, last: object, rows: QuerySet[Row, Item]) -> QuerySet[Row, Item]:
        """Those of `rows` up to the last row that is looked at."""
        raise NotImplementedError

    def narrow(
        self, rows: QuerySet[Row, Item], request: Request, n_rows: int
    ) -> QuerySet[Row, Item]:
        """The sorted `rows`; may drop some after the first `n_rows`, to make a page cheaper."""
        return rows

    def paginate_queryset(
        self,
        queryset: QuerySet[Row, Item] | Sequence[Item],
        request: Request,
        view: APIView | None = None,
    ) -> list[Item]:
        """One page; raises ValidationError with a message for each invalid parameter."""
        assert isinstance(queryset, QuerySet)
        limit = page_limit(request)
        skip = _skip(request) if self.takes_skip else 0
        rows = self.sort(queryset)
        if (cursor := request.query_params.get("cursor")) is not None:
            rows = self.rows_after(cursor, rows)
        if (last := self.last_row_looked_at(rows, request)) is not None:
            rows = self.rows_until(last, rows)
        # One extra row shows whether there is a next page.
        page = list(self.narrow(rows, request, skip + limit + 1)[skip : skip + limit + 1])
        if len(page) > limit:
            page.pop()
            last = page[-1]
        if last is not None:
            self._next_link = link_to(request, "cursor", self.encode_cursor(last, rows))
        return page

    def get_paginated_response(self, data: object) -> Response:
        headers = {"Link": f'<{self._next_link}>; rel="next"'} if self._next_link else None
        return Response(data, headers=headers)

    def get_paginated_response_schema(self, schema: JSONObject) -> JSONObject:
        return schema

    def get_schema_operation_parameters(self, view: APIView) -> list[JSONObject]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        skip = {"type": "integer", "minimum": 0, "maximum": MAX_SKIP, "default": 0}
        parameters = [
            parameter("limit", "Rows per page.", limit),
            parameter("skip", "Rows to skip; to go deeper, follow the Link header.", skip),
            parameter("cursor", "Where the page begins; use the Link header.", {"type": "string"}),
        ]
        return [item for item in parameters if item["name"] in self.parameter_names]


def invalid_cursor() -> ValidationError:
    return ValidationError({"cursor": ["Must come from the Link header of this list."]})


def encode_cursor(created_at: datetime, pk: int) -> str:
    """The position after a row. Both databases store times in whole microseconds."""
    return encode_key((created_at - EPOCH) // MICROSECOND, pk)


def encode_key(*numbers: int) -> str:
    """The numbers of a position, for a URL; not meant to be read by callers."""
    key = ".".join(map(str, numbers))
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_key(text: str) -> str:
    """What `encode_key` encoded, with points between the numbers; empty for a forged text."""
    try:
        return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeError):
        return ""


def _decode_cursor(cursor: str) -> tuple[datetime, int]:
    match = re.fullmatch(r"(-?[0-9]{1,18})\.([0-9]{1,19})", decode_key(cursor))
    if match:
        microseconds, pk = int(match[1]), int(match[2])
        if MIN_MICROSECONDS <= microseconds <= MAX_MICROSECONDS and pk <= MAX_ID:
            return EPOCH + timedelta(microseconds=microseconds), pk
    raise invalid_cursor()


def page_limit(request: Request) -> int:
    """The rows of a page that the request asks for; raises ValidationError."""
    return _integer(request, "limit", DEFAULT_LIMIT, minimum=1, maximum=MAX_LIMIT)


def _skip(request: Request) -> int:
    if "cursor" in request.query_params and "skip" in request.query_params:
        raise ValidationError({"skip": ["Cannot be combined with cursor."]})
    try:
        return _integer(request, "skip", 0, minimum=0, maximum=MAX_SKIP)
    except ValidationError as error:
        if re.fullmatch(r"[0-9]{5,}", request.query_params["skip"]):
            message = f"Must be at most {MAX_SKIP}; to go deeper, follow the Link header of a page."
            raise ValidationError({"skip": [message]}) from error
        raise


def _integer(request: Request, name: str, default: int, *, minimum: int, maximum: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    # int() alone also accepts signs, spaces, underscores and the digits of other scripts.
    if re.fullmatch(r"[0-9]{1,9}", text) and minimum <= int(text) <= maximum:
        return int(text)
    raise ValidationError({name: [f"Must be a whole number from {minimum} to {maximum}."]})


def link_to(request: Request, name: str, position: str) -> str:
    """The address of another page: the same path and filters, and a position instead of `skip`."""
    query = request.query_params.copy()
    query.pop("skip", None)
    query[name] = position
    return request.build_absolute_uri(f"{request._request.path}?{query.urlencode()}")


def parameter(name: str, description: str, schema: JSONObject) -> JSONObject:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
