"""What others write while a partition is dropped, and dropping as a job."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from predictions.models import Outcome, Prediction
from predictions.partitions import dropping
from predictions.partitions.catalog import TABLE, Partition
from predictions.partitions.discarding import find_leftovers
from predictions.partitions.errors import TableBusy
from predictions.partitions.tests.test_conversion import other_connection
from predictions.partitions.tests.test_dropping import FIRST, OLD, archived, names
from predictions.retention import partitions
from predictions.retention.pruning import past_retention
from predictions.testing.jobs import create_job, make_due, run_next
from predictions.testing.partitions import ROWS, record
from registry.access.accessor import Accessor
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from registry.testing.clients import permit

LATE_ROW = f"""
    INSERT INTO {TABLE} SELECT (jsonb_populate_record(stored, '{{"id": -1}}')).*
    FROM {TABLE} stored LIMIT 1
"""  # noqa: S608


@pytest.fixture
def due(partitioned: ModelVersion) -> ModelVersion:
    """The version of a log whose first partition is full and due."""
    RegisteredModel.objects.update(retention_days=30)
    record(partitioned, ROWS - 1, created_at=OLD)
    record(partitioned, created_at=timezone.now())
    return partitioned


def test_a_row_that_is_committed_late_is_not_dropped(
    due: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id was taken before the partition was full, and its transaction took long."""
    newest_by_version = dropping.newest_by_version
    looks: list[Mapping[int, datetime]] = []
    refusals: list[Exception] = []

    def look(partition: Partition) -> Mapping[int, datetime]:
        newest = newest_by_version(partition)
        looks.append(newest)
        if len(looks) == 2:
            with other_connection() as other:
                other.execute("SET lock_timeout = '200ms'")
                try:
                    other.execute(LATE_ROW)
                except psycopg.errors.LockNotAvailable as error:
                    refusals.append(error)
        return newest

    monkeypatch.setattr(dropping, "newest_by_version", look)
    partitions.drop_due(past_retention())

    assert len(refusals) == 1, "after the last look, it must not be committed"
    assert FIRST not in names()


def report_an_outcome_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once everything that refers to the partition has been deleted."""
    rows_by_version = dropping.rows_by_version

    def report_and_count(partition: Partition) -> Mapping[int, int]:
        Outcome.objects.create(prediction=Prediction.objects.earliest("pk"), value=1.0)
        return rows_by_version(partition)

    monkeypatch.setattr(dropping, "rows_by_version", report_and_count)


def test_an_outcome_that_is_reported_meanwhile_keeps_the_partition_for_now(
    due: ModelVersion, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        report_an_outcome_meanwhile(patch)
        assert partitions.drop_due(past_retention()) == 0

    assert FIRST in names()
    assert f"The partition {FIRST} cannot be dropped" in caplog.text
    assert partitions.drop_due(past_retention()) == ROWS - 1
    assert not Outcome.objects.exists()


def test_a_table_that_is_in_use_is_discarded_by_the_next_run(
    due: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then it is no partition any more."""

    def fail() -> None:
        raise TableBusy("A lock was not free")

    with monkeypatch.context() as patch:
        patch.setattr(partitions, "discard_leftovers", fail)
        assert partitions.drop_due(past_retention()) == ROWS - 1

    assert len(find_leftovers()) == 1
    assert partitions.drop_due(past_retention()) == 0
    assert find_leftovers() == []


def test_a_retention_job_counts_rows_of_a_partition_that_is_kept_once(
    due: ModelVersion, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_an_outcome_meanwhile(monkeypatch)
    create_job("retention", {}, Accessor(permit(user, "delete_prediction")))

    job = run_next()

    assert job is not None
    assert job.result == {"predictions": ROWS - 1}
    assert Prediction.objects.count() == 1
    assert FIRST in names()


def test_a_retention_job_archives_and_drops_partitions(
    due: ModelVersion, user: User, tmp_path: Path, settings: Any
) -> None:
    settings.RETENTION_ARCHIVE = str(tmp_path / "archive")
    record(due, 2, created_at=timezone.now() - timedelta(days=31))
    create_job("retention", {"model": "m"}, Accessor(permit(user, "delete_prediction")))

    job = run_next()

    assert job is not None
    assert (job.status, job.result) == ("succeeded", {"predictions": ROWS + 1})
    assert FIRST not in names()
    assert archived(tmp_path / "archive")
    assert set(AuditEvent.objects.filter(action="pruned").values_list("user", flat=True)) == {
        user.pk
    }


def test_a_retention_job_deletes_nothing_while_the_archive_is_down(
    due: ModelVersion, user: User, tmp_path: Path, settings: Any
) -> None:
    (tmp_path / "file").touch()
    settings.RETENTION_ARCHIVE = str(tmp_path / "file" / "archive")
    create_job("retention", {}, Accessor(permit(user, "delete_prediction")))

    job = run_next()

    assert job is not None
    assert job.status == "queued"
    assert "cannot be archived" in job.error
    assert Prediction.objects.count() == ROWS
    settings.RETENTION_ARCHIVE = ""
    make_due()
    again = run_next()
    assert again is not None
    assert again.result == {"predictions": ROWS - 1}


def test_a_retention_job_lets_rows_wait_for_their_partition(
    partitioned: ModelVersion, user: User, settings: Any
) -> None:
    RegisteredModel.objects.update(retention_days=30)
    settings.RETENTION_GRACE_DAYS = 20
    record(partitioned, created_at=timezone.now() - timedelta(days=45))
    create_job("retention", {}, Accessor(permit(user, "delete_prediction")))

    job = run_next()

    assert job is not None
    assert job.result == {"predictions": 0}
