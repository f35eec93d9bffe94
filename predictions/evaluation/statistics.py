"""Quantiles of columns, and which values a database can square."""

import math
from typing import TypeVar

from django.db import connection
from django.db.models import Aggregate, F, FloatField, Model, Q, QuerySet

from predictions.models import MAX_OUTCOME_VALUE

# The quantiles that reports and comparisons show.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

Row = TypeVar("Row", bound=Model)


def can_be_squared(column: str) -> Q:
    """Whether the square of a column is finite; false for nulls."""
    return Q(**{f"{column}__range": (-MAX_OUTCOME_VALUE, MAX_OUTCOME_VALUE)})


class PercentileCont(Aggregate):
    """PostgreSQL's continuous percentile, which interpolates between rows."""

    function = "percentile_cont"
    template = "%(function)s(%(fraction)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def quantiles(rows: QuerySet[Row], column: str) -> dict[str, float | None]:
    """QUANTILES of a column that has no nulls, interpolated linearly between neighbours.

    For rows without an index by the column: PostgreSQL sorts them once for all quantiles.
    """
    if connection.vendor == "postgresql":
        return rows.order_by().aggregate(
            **{
                name: PercentileCont(F(column), fraction=fraction)
                for name, fraction in QUANTILES.items()
            }
        )
    return quantiles_by_index(rows.order_by(f"-{column}"), column, rows.count())


def quantiles_by_index(
    descending: QuerySet[Row], column: str, count: int
) -> dict[str, float | None]:
    """The same for `count` rows that an index yields in descending order: two rows per quantile."""
    values = descending.values_list(column, flat=True)
    return {name: _quantile(values, count, fraction) for name, fraction in QUANTILES.items()}


def _quantile(descending: QuerySet[Row, float], count: int, fraction: float) -> float | None:
    """Linear between neighbours, as numpy's default method."""
    rank = max(count - 1, 0) * fraction
    below = math.floor(rank)
    neighbours = list(descending[max(0, count - 2 - below) : count - below])
    if not neighbours:
        return None
    high, low = neighbours[0], neighbours[-1]
    return low + (high - low) * (rank - below)
