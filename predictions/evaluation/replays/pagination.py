"""Pages of a replay's results, by key: as quick at the millionth row as at the first."""

import re
from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from predictions.models import ReplayResult

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
NUMBER = r"(0|[1-9][0-9]{0,17})"


class ResultPagination(BasePagination):
    """Pages of results that are sorted by `worst_first` or `newest_first`.

    As in other lists, the body is a plain list, and a `Link: <...>; rel="next"` header leads on.
    """

    parameter_names = frozenset({"limit", "cursor"})

    _next_link: str | None = None

    def paginate_queryset(
        self,
        queryset: QuerySet[Any] | Sequence[Any],
        request: Request,
        view: APIView | None = None,
    ) -> list[Any]:
        """One page; raises ValidationError by parameter."""
        assert isinstance(queryset, QuerySet)
        is_worst = "-distance" in queryset.query.order_by
        limit = _limit(request.query_params.get("limit"))
        if (cursor := request.query_params.get("cursor")) is not None:
            queryset = queryset.filter(_worse_after(cursor) if is_worst else _older(cursor))
        page = list(queryset[: limit + 1])
        if len(page) > limit:
            page.pop()
            query = request.query_params.copy()
            query["cursor"] = _key(page[-1], is_worst)
            path = f"{request._request.path}?{query.urlencode()}"
            self._next_link = request.build_absolute_uri(path)
        return page

    def get_paginated_response(self, data: Any) -> Response:
        headers = {"Link": f'<{self._next_link}>; rel="next"'} if self._next_link else None
        return Response(data, headers=headers)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return schema

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        cursor = "Where a page begins: from the Link header."
        return [
            {"name": name, "in": "query", "required": False, "description": said, "schema": schema}
            for name, said, schema in (
                ("limit", "Rows a page.", limit),
                ("cursor", cursor, {"type": "string"}),
            )
        ]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if re.fullmatch(r"[0-9]{1,9}", text) and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise ValidationError({"limit": [f"Must be a whole number from 1 to {MAX_LIMIT}."]})


def _key(row: ReplayResult, is_worst: bool) -> str:
    # The shortest text of a float is read back as the same float.
    return f"{row.distance!r}_{row.pk}" if is_worst else str(row.original_id)


def _worse_after(cursor: str) -> Q:
    match = re.fullmatch(rf"([0-9][0-9.e+-]{{0,30}})_{NUMBER}", cursor)
    try:
        distance = float(match[1]) if match else float("nan")
    except ValueError:
        distance = float("nan")
    if match is None or not distance < float("inf"):
        raise _wrong_cursor()
    # The first condition is redundant in logic; it is the one that the index begins with.
    after = Q(distance__lt=distance) | Q(id__gt=int(match[2]))
    return Q(distance__lte=distance) & after


def _older(cursor: str) -> Q:
    if not re.fullmatch(NUMBER, cursor):
        raise _wrong_cursor()
    return Q(original_id__lt=int(cursor))


def _wrong_cursor() -> ValidationError:
    return ValidationError({"cursor": ["Is not one of this list's Link headers."]})
