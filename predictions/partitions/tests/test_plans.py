"""Lists over sixty partitions are read from indexes in order, single rows from one partition."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from predictions.models import Outcome, Prediction
from predictions.models.predictions import PredictionQuerySet
from predictions.partitions.growth import create_ahead
from predictions.partitions.locking import execute
from predictions.testing.partitions import ROWS, record
from registry.models import ModelVersion

PARTITIONS = 60
# With few rows, other plans are cheap too; without them, they are chosen only where indexes are
# of no use.
NOT_PREFERRED = ("seqscan", "bitmapscan", "sort", "hashjoin")
FILTERS: list[dict[str, Any]] = [
    {},
    {"model_id": 0},
    {"status": "failed"},
    {"model_id": 0, "status": "failed"},
    {"flagged": True},
    {"reference": "r-1"},
    {"subject": "s-1"},
    {"request_id": "q-1"},
    {"model": "m"},
    {"model": "m@a"},
    {"alias": "a", "arm": "canary"},
]


@pytest.fixture
def version(partitioned: ModelVersion) -> Iterator[ModelVersion]:
    """The version of a log of 60 partitions, with rows in the first three."""
    create_ahead(ahead=PARTITIONS - 1)
    record(partitioned, 2 * ROWS + 10, alias="a", arm="canary", reference="r-1", subject="s-1")
    execute("ANALYZE predictions")
    for kind in NOT_PREFERRED:
        execute(f"SET enable_{kind} = off")
    yield partitioned
    execute("RESET ALL")


def plan(statement: str) -> str:
    return "\n".join(line for (line,) in execute(f"EXPLAIN {statement}"))


def plans_of(rows: Any) -> list[str]:
    """The plans of the statements on the log that evaluating the rows sends."""
    with CaptureQueriesContext(connection) as captured:
        list(rows())
    return [plan(query["sql"]) for query in captured if '"predictions"' in query["sql"]]


def test_pages_are_read_from_indexes_in_order(version: ModelVersion) -> None:
    for filters in FILTERS:
        given = filters | ({"model_id": version.pk} if "model_id" in filters else {})
        rows = Prediction.objects.matching(**given).newest_first()

        found = plans_of(lambda rows=rows: newest(rows))

        assert found
        for text in found:
            assert "Seq Scan on predictions" not in text, (filters, text)
            # At most the sort of a page that was found by its keys.
            assert not re.search(r"Sort  \(.* rows=\d{4}", text), (filters, text)


def newest(rows: PredictionQuerySet) -> PredictionQuerySet:
    return rows.newest_of_runs(20)[:20] if rows.lies_in_runs else rows[:20]


def test_followers_and_look_ups_read_from_indexes(version: ModelVersion) -> None:
    [following] = plans_of(lambda: Prediction.objects.in_commit_order()[:100])
    assert "Seq Scan on predictions" not in following
    assert "Sort  (" not in following
    assert "prediction_commit_order" in following

    [one] = plans_of(lambda: Prediction.objects.filter(pk=150))
    assert len(re.findall(r" on predictions\w*", one)) == 1

    of_subject = Prediction.objects.filter(subject="s-1")
    oldest = of_subject.order_by("created_at", "id").values_list("pk", flat=True)
    [erased] = plans_of(lambda: oldest[:5000])
    assert "Seq Scan on predictions" not in erased
    Outcome.objects.create(prediction_id=150, value=1.0)
    assert of_subject.delete()[0] == 2 * ROWS + 11
