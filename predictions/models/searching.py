"""Which part of the log a list asks for, and how a page of it is read from an index.

A model's name stands for many versions, and an alias for many versions and arms. Their newest rows
lie in many ranges of an index: one for each version, or for each version, alias and arm. Each such
range is a *run*. A page is found by reading the newest keys of each run, and then the newest of
these. Its cost depends on the number of runs, not on the number of rows.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from django.contrib.auth import get_user_model
from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models.expressions import RawSQL

from registry.models import Alias, AliasMove, ModelVersion

# Each has an index of its own, in which one value has few rows.
SELECTIVE = frozenset({"reference", "subject", "request_id", "user"})


class PredictionFilters(TypedDict, total=False):
    """The filters of every list and export of predictions; None does not filter.

    `model` is a specifier, and `user` a username. Both times are exclusive.
    """

    model_id: int | None
    model: str | None
    status: str | None
    created_after: datetime | None
    created_before: datetime | None
    reference: str | None
    subject: str | None
    request_id: str | None
    alias: str | None
    arm: str | None
    flagged: bool | None
    user: str | None


LOOKUPS = {
    "model_id": "model_id",
    "status": "status",
    "created_after": "created_at__gt",
    "created_before": "created_at__lt",
    "reference": "reference",
    "subject": "subject",
    "request_id": "request_id",
    "alias": "alias",
    "arm": "arm",
}


# The columns of a list.
LISTED_FIELDS: Sequence[str] = [
    "id",
    "model_id",
    "prediction",
    "confidence",
    "output",
    "flags",
    "metadata",
    "status",
    "latency_ms",
    "request_id",
    "user_id",
    "reference",
    "subject",
    "alias",
    "arm",
    "primary_id",
    "created_at",
    "transaction_id",
]


@dataclass(frozen=True, slots=True)
class Runs:
    """Ranges of an index, by the values of its leading columns."""

    # The first is the version's ID.
    columns: tuple[str, ...]
    values: Sequence[tuple[int | str, ...]]

    @property
    def version_ids(self) -> set[int | str]:
        return {value[0] for value in self.values}

    def of_versions(self, version_ids: Collection[int]) -> "Runs":
        """The runs that hold rows of these versions."""
        return Runs(self.columns, [value for value in self.values if value[0] in version_ids])


def versions_of(specifier: str) -> tuple[list[int], str | None]:
    """The ids of the versions that a specifier stands for in the log, and the alias in it.

    A name alone stands for all its versions; in a request it stands for its champion.
    """
    name, colon, version = specifier.partition(":")
    name, at, alias = (name, "", "") if colon else specifier.partition("@")
    versions = ModelVersion.objects.filter(name=name)
    if colon:
        versions = versions.filter(version=version)
    return list(versions.order_by("pk").values_list("pk", flat=True)), alias if at else None


def user_id_of(username: str) -> int | None:
    users = get_user_model().objects.filter(username=username)
    return users.values_list("pk", flat=True).first()


def runs_of(
    given: Mapping[str, object], version_ids: Collection[int] | None, arms: Sequence[str]
) -> Runs | None:
    """The runs that hold the rows with these filters; None if they lie in one range of an index.

    `version_ids` are those that the filters allow, None for all; `arms` are all arms.
    """
    if given.keys() & SELECTIVE:
        return None
    by_alias = "alias" in given or "arm" in given
    if not by_alias and version_ids is None:
        return None
    names = _names_of(version_ids) if by_alias else dict.fromkeys(version_ids or (), "")
    # What a filter fixes is not a column of the runs: the planner knows how frequent the value is.
    columns = ["model_id"]
    values: list[tuple[int | str, ...]] = [(pk,) for pk in names]
    if by_alias and "alias" not in given:
        columns.append("alias")
        aliases = _aliases_of(set(names.values()))
        values = [(pk, alias) for pk, name in names.items() for alias in sorted(aliases[name])]
    if by_alias and "arm" not in given:
        columns.append("arm")
        values = [(*value, arm) for value in values for arm in arms]
    if columns == ["model_id"] and len(values) == 1:
        return None
    return Runs(tuple(columns), values)


def _names_of(version_ids: Collection[int] | None) -> dict[int, str]:
    versions = ModelVersion.objects.all()
    if version_ids is not None:
        versions = versions.filter(pk__in=version_ids)
    return dict(versions.order_by("pk").values_list("pk", "name"))


def _aliases_of(names: Collection[str]) -> dict[str, set[str]]:
    """The aliases that each name has or had; the history of a removed alias stays."""
    aliases: dict[str, set[str]] = defaultdict(set)
    for table in (Alias, AliasMove):
        rows = table._default_manager.filter(name__in=names).order_by()
        for name, alias in rows.values_list("name", "alias").distinct():
            aliases[name].add(alias)
    return aliases


def newest_keys(rows: models.QuerySet[Any], runs: Runs, count: int) -> list[int]:
    """The ids of the newest rows, newest first, in one query."""
    connection = connections[rows.db]
    # A reference to a column of the runs, by a name from this module.
    in_run = {name: RawSQL(f"run.{name}", ()) for name in runs.columns}  # noqa: S611
    keys = rows.filter(**in_run).order_by("-created_at", "-id")[:count]
    columns = ("created_at", "id") if connection.vendor == "postgresql" else ("id",)
    try:
        inner, parameters = keys.values_list(*columns).query.get_compiler(rows.db).as_sql()
    except EmptyResultSet:
        return []
    if not runs.values:
        return []
    # SQLite has no LATERAL; there the keys are looked up again for their times.
    if connection.vendor == "postgresql":
        page = f"LATERAL ({inner}) AS page"
    else:
        page = f"{rows.model._meta.db_table} AS page WHERE page.id IN ({inner})"
    one = f"({', '.join(['%s'] * len(runs.columns))})"
    run = f"run ({', '.join(runs.columns)}) AS (VALUES {', '.join([one] * len(runs.values))})"
    # From our own names, and what the ORM has quoted.
    statement = (
        f"WITH {run} SELECT page.id FROM run CROSS JOIN {page}"  # noqa: S608
        " ORDER BY page.created_at DESC, page.id DESC LIMIT %s"
    )
    values = [value for run in runs.values for value in run]
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, *parameters, count])
        return [pk for (pk,) in cursor.fetchall()]
