"""Pages of the errors of one job, by the position of the row."""

import re
from typing import Any

from django.db.models import Q

from predictions.models import JobError
from registry.pagination import MAX_ID, KeysetPagination, decode_key, encode_key, invalid_cursor


class JobErrorPagination(KeysetPagination):
    """Errors in the order of the rows; at most MAX_JOB_ERRORS, so that there is no `skip`."""

    takes_skip = False

    def sort(self, rows: Any) -> Any:
        return rows.in_order()

    def encode_cursor(self, row: object, rows: Any) -> str:
        assert isinstance(row, JobError)
        return encode_key(row.position, row.pk)

    def rows_after(self, cursor: str, rows: Any) -> Any:
        match = re.fullmatch(r"([0-9]{1,19})\.([0-9]{1,19})", decode_key(cursor))
        if not match or max(int(match[1]), int(match[2])) > MAX_ID:
            raise invalid_cursor()
        position, pk = int(match[1]), int(match[2])
        return rows.filter(Q(position__gte=position), Q(position__gt=position) | Q(pk__gt=pk))
