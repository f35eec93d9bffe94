"""Which rows an export has: those that match its filter, as of one moment."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from django.db import connections
from django.db.models import Exists, Max, OuterRef, Q

from predictions.following import require_continued_numbers
from predictions.models import Prediction, await_horizon
from predictions.models.predictions import PredictionQuerySet
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion


@dataclass(frozen=True, slots=True)
class Key:
    """The place of a row in an export, which is sorted by time and id, oldest first."""

    created_at: datetime
    pk: int


@dataclass(frozen=True, slots=True)
class Positions:
    """The part of the log from `start` on and before `end`, in the order of commits.

    No row can appear in it later, so that several exports that continue each other have every row
    once. On PostgreSQL the numbers are those of transactions, on SQLite they are ids of rows.

    `is_behind` says that rows may be left out that had been committed before, since a transaction
    that began earlier was still open.
    """

    start: int
    end: int
    is_behind: bool = field(default=False, compare=False)

    @classmethod
    def until_now(cls, start: int = 0, *, max_wait_seconds: float) -> Self:
        """All that is committed; raises LogRestored.

        Waits at most this long for the transactions that are open.
        """
        using = Prediction.objects.db
        require_continued_numbers(using)
        if connections[using].vendor == "sqlite":
            newest = Prediction.objects.aggregate(newest=Max("pk"))["newest"] or 0
            return cls(start, newest + 1)
        end, is_complete = await_horizon(using, max_seconds=max_wait_seconds)
        return cls(start, end, not is_complete)

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        return cls(document["from"], document["to"])

    def as_json(self) -> JSONObject:
        return {"from": self.start, "to": self.end}

    def column(self, using: str) -> str:
        """The field that has the numbers."""
        return "id" if connections[using].vendor == "sqlite" else "transaction_id"

    def condition(self, using: str) -> Q:
        column = self.column(using)
        before = Q(**{f"{column}__lt": self.end})
        return before & Q(**{f"{column}__gte": self.start}) if self.start else before


@dataclass(frozen=True, slots=True)
class Selection:
    """Filtered rows of the log between two positions."""

    rows: PredictionQuerySet
    positions: Positions

    def after(self, key: Key | None) -> PredictionQuerySet:
        """The rows that follow the key, oldest first. The indexes of the lists serve this order."""
        rows = self.rows.filter(self.positions.condition(self.rows.db))
        if key is not None:
            # The first condition follows from the second; an index range can begin with it.
            rows = rows.filter(
                Q(created_at__gte=key.created_at),
                Q(created_at__gt=key.created_at) | Q(id__gt=key.pk),
            )
        return rows.order_by("created_at", "id")

    def leaves_out_rows(self) -> bool:
        """Whether rows are already committed that follow the end of the positions."""
        column = self.positions.column(self.rows.db)
        return self.rows.filter(**{f"{column}__gte": self.positions.end}).exists()

    def versions(self) -> list[ModelVersion]:
        """The versions that have rows in the selection, by id."""
        rows = self.after(None).order_by()
        return list(
            ModelVersion.objects.filter(Exists(rows.filter(model=OuterRef("pk")))).order_by("pk")
        )

    def estimate(self) -> int:
        """About how many rows there are: what PostgreSQL's planner expects, or SQLite's count."""
        rows = self.after(None).order_by()
        if connections[rows.db].vendor == "sqlite":
            return rows.count()
        statement, parameters = rows.values("pk").query.sql_with_params()
        with connections[rows.db].cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            [[plan]] = cursor.fetchone()
        return int(plan["Plan"]["Plan Rows"])
