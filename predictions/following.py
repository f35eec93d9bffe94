"""`?after=`: pages through the prediction log in the order of commits, for followers.

Rows are given only once no other row can come before them, so a follower that keeps the last
position misses none and gets none twice, however many write at the same time.
"""

import re
from typing import Any

from django.db import connections
from django.db.models import Q
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from predictions.models import Prediction, has_rows_from_the_future
from predictions.models.predictions import PredictionQuerySet
from predictions.models.readable import ROWS_PER_PAGE_LOOKED_AT, narrowed
from registry.access import rights
from registry.access.accessor import Accessor
from registry.database.statements import row_compared
from registry.exact_json.values import JSONObject
from registry.models import Right
from registry.pagination import (
    MAX_ID,
    KeysetPagination,
    decode_key,
    encode_key,
    link_to,
    page_limit,
    parameter,
)

PARAMETER = "after"
AT_END_HEADER = "At-End"
_KEY = ("transaction_id", "id")


class LogRestored(Exception):
    """The log was restored into another cluster; the message is for the caller."""

    retry_after = 30


class FollowablePagination(KeysetPagination):
    """As KeysetPagination; with `after`, pages in the order of commits, oldest first.

    Such a page always has a `Link` to the next, from which the follower goes on later, and a header
    `At-End` that says whether the page is the last one for now.
    """

    _is_following = False
    _is_at_end = False

    @property
    def parameter_names(self) -> frozenset[str]:
        return super().parameter_names | {PARAMETER}

    def narrow(self, rows: Any, request: Request, n_rows: int) -> Any:
        return narrowed(rows, Accessor.of(request), n_rows)

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        """One page; raises ValidationError for invalid parameters, and LogRestored."""
        position = request.query_params.get(PARAMETER)
        if position is None:
            return super().paginate_queryset(queryset, request, view)
        for name in ("skip", "cursor"):
            if name in request.query_params:
                raise ValidationError({name: [f"Cannot be combined with {PARAMETER}."]})
        limit = page_limit(request)
        start = _decode(position) if position else (-1, 0)
        self._is_following = True
        require_continued_numbers(queryset.db)
        end = None
        if not rights.holds_everywhere(Accessor.of(request), Right.READ_LOG):
            end = _end_of_look(start)
        page = _rows_after(start, queryset, limit, end)
        self._is_at_end = len(page) < limit and end is None
        if end is not None and len(page) < limit:
            start = end
        elif page:
            start = page[-1].transaction_id, page[-1].pk
        self._next_link = link_to(
            request, PARAMETER, encode_key(*start) if page or end or position else ""
        )
        return page

    def get_paginated_response(self, data: object) -> Response:
        response = super().get_paginated_response(data)
        if self._is_following:
            response[AT_END_HEADER] = "true" if self._is_at_end else "false"
        return response

    def get_schema_operation_parameters(self, view: APIView) -> list[JSONObject]:
        description = (
            "Follow the log in the order of commits, oldest first: empty for its beginning, then"
            f" as the Link header says. The header {AT_END_HEADER} says whether there is more now."
        )
        return [
            *super().get_schema_operation_parameters(view),
            parameter(PARAMETER, description, {"type": "string"}),
        ]


def require_continued_numbers(using: str) -> None:
    """Raise LogRestored after a restore, until `continue_numbers` has run."""
    if has_rows_from_the_future(Prediction._meta.db_table, connections[using]):
        raise LogRestored("The database was restored: `manage.py migrate` must run first")


def _rows_after(
    start: tuple[int, int], rows: PredictionQuerySet, limit: int, end: tuple[int, int] | None
) -> list[Prediction]:
    """The first rows after `start`, and up to `end` if there is one."""
    rows = rows.in_commit_order().filter(is_after(*start))
    if end is not None:
        rows = rows.filter(is_up_to(*end))
    return list(rows[:limit])


def is_after(transaction_id: int, pk: int) -> Q:
    """The condition on rows that follow this one in the order of commits."""
    return Q(row_compared(_KEY, ">", (transaction_id, pk)))


def is_up_to(transaction_id: int, pk: int) -> Q:
    """The condition on this row and those before it in the order of commits."""
    return Q(row_compared(_KEY, "<=", (transaction_id, pk)))


def _end_of_look(start: tuple[int, int]) -> tuple[int, int] | None:
    """The last of the rows after `start` that are looked at for one page, whether or not the caller
    may read them; None if fewer follow.
    """
    rows = Prediction.objects.in_commit_order().filter(is_after(*start))
    keys = rows.values_list("transaction_id", "pk")[ROWS_PER_PAGE_LOOKED_AT - 1 :]
    return keys.first()


def _decode(position: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,19})\.([0-9]{1,19})", decode_key(position))
    if match and int(match[1]) <= MAX_ID and int(match[2]) <= MAX_ID:
        return int(match[1]), int(match[2])
    raise ValidationError({PARAMETER: ["Must be empty, or come from the Link header of a page."]})
