"""Retention drops partitions whole."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pyarrow import parquet

from predictions.models import LegalHold, Outcome, Prediction, StaleHour
from predictions.partitions.archiving import archive_to
from predictions.partitions.catalog import find_layout
from predictions.partitions.errors import ArchiveFailed
from predictions.retention import partitions
from predictions.retention.pruning import past_retention
from predictions.retention.work import RETENTION
from predictions.testing.partitions import ROWS, record
from predictions.testing.rows import add_values, make_version
from registry.models import AuditEvent, ModelVersion, RegisteredModel

FIRST = "predictions_from_0"
OLD = timezone.now() - timedelta(days=90)


def names() -> list[str]:
    layout = find_layout(connection)
    assert layout is not None
    return [partition.name for partition in layout.partitions]


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("prune_predictions", *arguments, stdout=out)
    return out.getvalue()


def work() -> None:
    turn = RETENTION.take_due()
    assert turn is not None
    RETENTION.run(turn, lambda: False)


@pytest.fixture
def log(partitioned: ModelVersion) -> list[Prediction]:
    """A first partition of rows that are due after 30 days, and a younger row in the second one."""
    RegisteredModel.objects.update(retention_days=30)
    rows = record(partitioned, ROWS - 1, created_at=OLD)
    return [*rows, *record(partitioned, created_at=timezone.now())]


def test_a_partition_whose_rows_are_all_due_is_dropped(log: list[Prediction]) -> None:
    version, young = log[0].model, log[-1]
    add_values(log, [1.0] * ROWS)
    record(version, alias="a", arm="shadow", primary=log[0], created_at=timezone.now())

    output = run("--due")

    assert f"Dropped partitions of {ROWS - 1} predictions." in output
    assert "Deleted 0 predictions of m" in output
    assert list(Prediction.objects.all()) == [young]
    assert [outcome.prediction_id for outcome in Outcome.objects.all()] == [young.pk]
    assert FIRST not in names()
    event = AuditEvent.objects.get()
    assert (event.action, event.model, event.target) == ("pruned", "m", "predictions")
    assert event.details["predictions"] == ROWS - 1
    assert event.details["partition"] == FIRST
    hour = OLD.replace(minute=0, second=0, microsecond=0)
    assert StaleHour.objects.filter(model=version, hour=hour).exists()


def test_every_hour_of_a_dropped_partition_is_counted_again(partitioned: ModelVersion) -> None:
    RegisteredModel.objects.update(retention_days=30)
    start = OLD.replace(minute=0, second=0, microsecond=0)
    hours = {start + timedelta(hours=n) for n in (0, 1, 5, 400)}
    for hour in sorted(hours):
        for minutes in (0, 59):
            record(partitioned, 12, created_at=hour + timedelta(minutes=minutes))
    record(partitioned, 10, created_at=timezone.now())

    assert partitions.drop_due(past_retention()) == 0
    Prediction.objects.filter(pk__lt=ROWS, created_at__gt=OLD + timedelta(days=30)).delete()
    StaleHour.objects.all().delete()

    assert partitions.drop_due(past_retention()) == 96
    assert set(StaleHour.objects.values_list("hour", flat=True)) == hours


@pytest.mark.parametrize("held", [{"subject": "s"}, {"subject": None}])
def test_a_partition_with_a_row_under_a_legal_hold_is_kept(
    log: list[Prediction], held: dict[str, str | None]
) -> None:
    Prediction.objects.filter(pk=log[5].pk).update(subject="s")
    model = None if held["subject"] else RegisteredModel.objects.get()
    LegalHold.objects.create(registered_model=model, reason="a claim", **held)

    run("--due")

    assert FIRST in names()
    # The rows that are not held are deleted one by one, as in a plain table.
    kept = [log[5], log[-1]] if held["subject"] else log
    assert list(Prediction.objects.order_by("pk")) == kept


def test_a_partition_is_kept_for_a_held_shadow_in_another_one(log: list[Prediction]) -> None:
    shadow = make_version(None, "other")
    RegisteredModel.objects.filter(name="other").update(retention_days=1)
    record(shadow, alias="a", arm="shadow", primary=log[0], created_at=timezone.now())
    model = RegisteredModel.objects.get(name="other")
    LegalHold.objects.create(registered_model=model, reason="a claim")

    assert partitions.drop_due(past_retention()) == 0
    assert Prediction.objects.count() == ROWS + 1


def test_a_partition_with_rows_that_are_not_due_is_kept(log: list[Prediction]) -> None:
    other = make_version(None, "kept")
    Prediction.objects.filter(pk=log[3].pk).update(model=other)

    assert partitions.drop_due(past_retention()) == 0
    assert FIRST in names()


def test_a_row_that_becomes_undue_meanwhile_keeps_the_partition(
    log: list[Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(partition: Any, rows: Any) -> None:
        Prediction.objects.filter(pk=log[3].pk).update(created_at=timezone.now())

    assert partitions.drop_due(past_retention(), archive=change) == 0
    assert Prediction.objects.count() == ROWS


def test_the_partition_that_still_gets_rows_is_kept(partitioned: ModelVersion) -> None:
    RegisteredModel.objects.update(retention_days=30)
    record(partitioned, ROWS - 2, created_at=OLD)

    assert partitions.drop_due(past_retention()) == 0
    record(partitioned, created_at=OLD)
    assert partitions.drop_due(past_retention()) == ROWS - 1


def test_rows_wait_for_their_partition_during_the_grace(
    partitioned: ModelVersion, settings: Any
) -> None:
    RegisteredModel.objects.update(retention_days=30)
    settings.RETENTION_GRACE_DAYS = 20
    ages = (60, 45, 10)
    too_old, waiting, young = (
        record(partitioned, created_at=timezone.now() - timedelta(days=days))[0] for days in ages
    )

    work()

    assert list(Prediction.objects.order_by("pk")) == [waiting, young]
    assert too_old not in Prediction.objects.all()


def test_before_a_time_drops_partitions_too(log: list[Prediction]) -> None:
    RegisteredModel.objects.update(retention_days=None)

    assert f"of {ROWS - 1} predictions" in run("--before", f"{timezone.now():%Y-%m-%d}")
    assert FIRST not in names()


def test_a_plain_table_drops_nothing(version: ModelVersion) -> None:
    RegisteredModel.objects.update(retention_days=30)
    record(version, 5, created_at=OLD)

    output = run("--due")

    assert "Dropped" not in output
    assert "Deleted 5 predictions" in output


def archived(folder: Path) -> Sequence[Path]:
    return sorted(folder.glob(f"partition={FIRST}/year=*/month=*/part-*.parquet"))


def test_a_partition_is_archived_by_month_before_it_is_dropped(
    log: list[Prediction], tmp_path: Path
) -> None:
    Prediction.objects.filter(pk__lte=40).update(created_at=OLD - timedelta(days=40))
    months: set[datetime] = set(Prediction.objects.filter(pk__lt=ROWS).dates("created_at", "month"))  # type: ignore[arg-type]

    run("--due", "--export-first", str(tmp_path / "archive"))

    files = archived(tmp_path / "archive")
    assert len(files) == len(months) == 2
    ids = [pk for file in files for pk in parquet.ParquetFile(file).read()["id"].to_pylist()]
    assert sorted(ids) == [row.pk for row in log[:-1]]
    manifest = orjson.loads((files[0].parent / "_manifest.json").read_bytes())
    assert (manifest["rows"], manifest["filter"]["partition"]) == (40, FIRST)
    assert FIRST not in names()


def test_a_partition_stays_if_its_archive_is_damaged(
    log: list[Prediction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_to(str(tmp_path))
    assert archive is not None
    layout = find_layout(connection)
    assert layout is not None
    archive(layout.partitions[0], Prediction.objects.filter(pk__lt=ROWS))
    file = archived(tmp_path)[0]
    file.write_bytes(file.read_bytes()[:-1] + b"\0")

    with pytest.raises(CommandError, match="is not what was written"):
        run("--due", "--export-first", str(tmp_path))

    assert Prediction.objects.count() == ROWS


def test_a_partition_stays_if_its_archive_has_other_rows(
    log: list[Prediction], tmp_path: Path
) -> None:
    archive = archive_to(str(tmp_path))
    layout = find_layout(connection)
    assert archive is not None
    assert layout is not None
    rows = Prediction.objects.filter(pk__lt=ROWS)
    archive(layout.partitions[0], rows)
    log[3].delete()

    with pytest.raises(ArchiveFailed, match="has 99 predictions and the log 98"):
        archive(layout.partitions[0], rows)


def test_nothing_is_deleted_while_the_archive_cannot_be_written(
    log: list[Prediction], tmp_path: Path, settings: Any
) -> None:
    (tmp_path / "file").write_text("")
    settings.RETENTION_ARCHIVE = str(tmp_path / "file")

    with pytest.raises(ArchiveFailed, match="cannot be archived"):
        work()

    assert Prediction.objects.count() == ROWS
