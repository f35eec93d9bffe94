"""Pages of the admin on tables that are too long to be counted."""

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

# Pages reach this far; older rows are a date filter away.
MAX_LISTED_ROWS = 10_000


class BoundedPaginator(Paginator):
    """Counts at most `limit` rows, never the table."""

    limit = MAX_LISTED_ROWS

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return rows.order_by()[: self.limit].count()
