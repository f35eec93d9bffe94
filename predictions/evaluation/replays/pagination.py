"""Pages of a replay's results, in either of their two orders."""

import re
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from predictions.models import ReplayResult
from registry.pagination import KeysetPagination, invalid_cursor

ID = r"(0|[1-9][0-9]{0,17})"

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")


class ReplayResultPagination(KeysetPagination):
    """Pages of results that the view has sorted by `worst_first` or `newest_first`."""

    takes_skip = False

    def sort(self, rows: QuerySet[Row, Item]) -> QuerySet[Row, Item]:
        return rows

    def encode_cursor(self, row: object, rows: QuerySet[Row, Item]) -> str:
        assert isinstance(row, ReplayResult)
        # The shortest representation of a float parses to the same float.
        return f"{row.distance!r}_{row.pk}" if _is_worst_first(rows) else str(row.original_id)

    def rows_after(self, cursor: str, rows: QuerySet[Row, Item]) -> QuerySet[Row, Item]:
        return rows.filter(_worse_after(cursor) if _is_worst_first(rows) else _older_than(cursor))


def _is_worst_first(rows: QuerySet[Row, Item]) -> bool:
    return "-distance" in rows.query.order_by


def _worse_after(cursor: str) -> Q:
    match = re.fullmatch(rf"([0-9][0-9.e+-]{{0,30}})_{ID}", cursor)
    try:
        distance = float(match[1]) if match else float("nan")
    except ValueError:
        distance = float("nan")
    if match is None or not distance < float("inf"):
        raise invalid_cursor()
    # The first condition follows from the second; it is the one an index range can begin with.
    return Q(distance__lte=distance) & (Q(distance__lt=distance) | Q(id__gt=int(match[2])))


def _older_than(cursor: str) -> Q:
    if not re.fullmatch(ID, cursor):
        raise invalid_cursor()
    return Q(original_id__lt=int(cursor))
