"""Which predictions an accessor may read: their own, and all of the models whose log they may read.

A user who may read everything, or only their own, is served by an index alone. For the rest, no
index has the rows in order: `narrowed` probes the index of each readable version for the first
rows of the page.
"""

from typing import TYPE_CHECKING

from django.db import connections
from django.db.models import Count, Q, QuerySet
from django.db.models.expressions import RawSQL

from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import ModelVersion, RegisteredModel, Right

if TYPE_CHECKING:
    from predictions.models.predictions import PredictionQuerySet

# How many rows one page looks at in a list that no index has in order for its caller. A page with
# fewer rows than the caller wants still links to the next.
ROWS_PER_PAGE_LOOKED_AT = 50_000


def readable(accessor: Accessor, prediction: str = "") -> Q:
    """The condition on rows that an accessor may read; `prediction` is the path to the prediction.

    Nothing that is read beforehand can be out of date: the statement itself looks up the rights.
    """
    if rights.holds_everywhere(accessor, Right.READ_LOG):
        return Q()
    own = Q(**{f"{prediction}user": accessor.user})
    if accessor.key is not None and not accessor.key.all_models:
        for_key = rights.within_key(ModelVersion.objects.all(), accessor)
        own &= Q(**{f"{prediction}model__in": for_key.values("pk")})
    return own | Q(**{f"{prediction}model__in": readable_versions(accessor).values("pk")})


def readable_versions(accessor: Accessor) -> QuerySet[ModelVersion]:
    """The versions of the models whose log the accessor may read."""
    return rights.with_right(ModelVersion.objects.all(), accessor, Right.READ_LOG)


def narrowed(rows: "PredictionQuerySet", accessor: Accessor, n_rows: int) -> "PredictionQuerySet":
    """`rows`, which are sorted and readable, without most of those after the first `n_rows`."""
    if rights.holds_everywhere(accessor, Right.READ_LOG):
        return rows
    granted = Q(pk__in=rights.models_with(accessor, Right.READ_LOG).values("pk"))
    models = RegisteredModel.objects.aggregate(
        total=Count("pk"), granted=Count("pk", filter=granted)
    )
    if not models["granted"]:
        return rows.filter(user=accessor.user)
    if models["granted"] == models["total"]:
        return rows
    own = rows.filter(user=accessor.user).values("id")[:n_rows]
    of_version = rows.filter(model_id=RawSQL("readable_version.id", ())).values("id")[:n_rows]
    versions = readable_versions(accessor).order_by().values("id")
    parts = [query.query.sql_with_params() for query in (own, versions, of_version)]
    template = _SQLITE if connections[rows.db].vendor == "sqlite" else _POSTGRESQL
    sql = template.format(*(sql for sql, _ in parts))
    values = [value for _, values in parts for value in values]
    # The text consists of Django's own statements, with their parameters.
    return rows.filter(pk__in=RawSQL(sql, values))  # noqa: S611


_POSTGRESQL = (
    "SELECT own.id FROM ({}) own UNION ALL SELECT head.id FROM ({}) readable_version"
    " CROSS JOIN LATERAL ({}) head"
)
_SQLITE = (
    "SELECT own.id FROM ({}) own UNION ALL SELECT head.id FROM ({}) readable_version"
    " CROSS JOIN predictions head ON head.id IN ({})"
)
