"""The log is read in chunks, with each row once."""

import random
from datetime import timedelta

import pytest

from predictions.evaluation.counting import log
from predictions.evaluation.counting.log import FIELDS, chunks
from predictions.models import Prediction
from predictions.testing.counting import churn, random_prediction
from predictions.testing.rows import NOON
from registry.models import ModelVersion

pytestmark = pytest.mark.django_db


def create_rows(version: ModelVersion, rows: int = 40) -> None:
    """Rows of few different times: some chunks end between rows of one time."""
    rng = random.Random(1)  # noqa: S311 -- data
    Prediction.objects.bulk_create(
        random_prediction(version, rng, created_at=NOON + timedelta(minutes=rng.randrange(3)))
        for _ in range(rows)
    )


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize(("rows", "size_bytes"), [(7, 2**24), (1000, 900), (1000, 0), (40, 2**24)])
def test_chunks_have_each_row_once_in_order(
    rows: int, size_bytes: int, newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHUNK_ROWS", rows)
    monkeypatch.setattr(log, "CHUNK_BYTES", size_bytes)
    create_rows(churn())
    expected = Prediction.objects.order_by("created_at", "id")
    if newest_first:
        expected = Prediction.objects.newest_first()

    read = [
        row
        for chunk in chunks(Prediction.objects.all(), newest_first=newest_first)
        for row in zip(*(chunk.columns[name] for name in FIELDS), strict=True)
    ]

    assert read == list(expected.values_list(*FIELDS))


def test_chunks_end_after_a_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "CHUNK_ROWS", 10)
    create_rows(churn())

    sizes = [len(chunk.columns) for chunk in chunks(Prediction.objects.all(), max_rows=25)]

    assert sizes == [10, 10, 5]


def test_a_row_larger_than_a_chunk_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "CHUNK_BYTES", 100)
    version = churn()
    for text in ("ä" * 60, "b" * 5000, "c"):
        Prediction.objects.create(model=version, input_data={"review": text})

    parts = [chunk.columns["input_data"] for chunk in chunks(Prediction.objects.all())]

    assert [row["review"][0] for part in parts for row in part] == ["ä", "b", "c"]
