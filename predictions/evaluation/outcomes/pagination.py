"""Pages of outcomes, which no index has in order for callers who may read only some of them."""

from typing import Any

from django.db.models import Q
from rest_framework.request import Request

from predictions.models import Outcome
from predictions.models.readable import ROWS_PER_PAGE_LOOKED_AT
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import Right
from registry.pagination import KeysetPagination

SELECTIVE = ("prediction_id", "reference")


class OutcomePagination(KeysetPagination):
    """As KeysetPagination. For a caller who may not read every outcome, a page may have fewer rows
    than its limit, or none, and still link to the next: it ends after ROWS_PER_PAGE_LOOKED_AT rows.
    """

    takes_skip = False

    def last_row_looked_at(self, rows: Any, request: Request) -> Any:
        if any(name in request.query_params for name in SELECTIVE):
            return None
        if rights.holds_everywhere(Accessor.of(request), Right.READ_LOG):
            return None
        everything = self.sort(Outcome.objects.only("created_at"))
        if (cursor := request.query_params.get("cursor")) is not None:
            everything = self.rows_after(cursor, everything)
        return everything[ROWS_PER_PAGE_LOOKED_AT - 1 :].first()

    def rows_until(self, last: Any, rows: Any) -> Any:
        return rows.filter(
            # As in rows_after, the first condition is the one that an index range can end with.
            Q(created_at__gte=last.created_at),
            Q(created_at__gt=last.created_at) | Q(id__gte=last.pk),
        )
