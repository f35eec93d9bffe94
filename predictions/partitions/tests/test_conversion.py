"""The plain table becomes partitions, and a plain table again."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from predictions.models import Outcome, Prediction
from predictions.partitions import conversion, locking
from predictions.partitions.catalog import TABLE, find_layout
from predictions.partitions.errors import ConversionRefused, PartitionsUnavailable, TableBusy
from predictions.partitions.growth import create_ahead
from predictions.partitions.locking import exclusively, execute
from predictions.retention import partitions
from predictions.retention.pruning import Due
from predictions.serving import recorder
from predictions.serving.records import Record
from predictions.testing.partitions import ROWS, record
from predictions.testing.rows import add_values
from registry.models import ModelVersion
from registry.testing.databases import pool_limits

CONSTRAINTS = """
    SELECT conname, contype, conrelid::regclass::text, confrelid::regclass::text, convalidated,
        pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE %s::regclass IN (conrelid, confrelid) AND contype IN ('c', 'f', 'p') AND conparentid = 0
    ORDER BY conname
"""
INDEXES = """
    SELECT relname, replace(pg_get_indexdef(indexrelid), ' ONLY ', ' '), indisvalid
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = %s::regclass ORDER BY relname
"""


def structure() -> list[Any]:
    return [execute(CONSTRAINTS, [TABLE]), execute(INDEXES, [TABLE])]


def other_connection() -> psycopg.Connection[Any]:
    return psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None})


def test_a_converted_log_has_the_same_rows_and_structure(version: ModelVersion) -> None:
    rows = record(version, 30)
    shadow = record(version, alias="a", arm="shadow", primary=rows[0])
    add_values(rows, [1.0] * 30)
    before = structure()

    assert conversion.convert(ROWS)

    assert structure() == before
    assert list(Prediction.objects.order_by("pk")) == rows + shadow
    assert Outcome.objects.filter(prediction__in=rows).count() == 30
    layout = find_layout(connection)
    assert layout is not None
    assert [(part.first_id, part.end_id) for part in layout.partitions] == [
        (None, 100),
        (100, 200),
        (200, 300),
    ]
    assert record(version)[0].pk == shadow[0].pk + 1


def test_a_converted_log_refuses_what_refers_to_no_row(partitioned: ModelVersion) -> None:
    row = record(partitioned)[0]
    missing = Prediction(pk=row.pk + 50)

    with pytest.raises(IntegrityError), transaction.atomic():
        Outcome.objects.create(prediction=missing, value=1.0)
    with pytest.raises(IntegrityError), transaction.atomic():
        record(partitioned, alias="a", arm="shadow", primary=missing)
    with pytest.raises(IntegrityError), transaction.atomic():
        record(partitioned, status="failed")
    Outcome.objects.create(prediction=row, value=1.0)
    assert row.delete()[0] == 2


def test_grants_comments_and_triggers_survive(version: ModelVersion) -> None:
    role = "partitions_reader"
    execute(f"DROP ROLE IF EXISTS {role}")
    for statement in (
        f"CREATE ROLE {role}",
        f"GRANT SELECT, INSERT (model_id) ON {TABLE} TO {role} WITH GRANT OPTION",
        f"GRANT USAGE ON SEQUENCE {TABLE}_id_seq TO {role}",
        f"COMMENT ON TABLE {TABLE} IS 'it''s the log'",
        "COMMENT ON INDEX prediction_newest IS 'of lists'",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'refused by a trigger'; END $$",
        f"CREATE TRIGGER refusing BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ):
        execute(statement)
    try:
        conversion.convert(ROWS)

        assert execute(f"SELECT has_table_privilege('{role}', '{TABLE}', 'SELECT')") == [(True,)]
        assert execute(
            f"SELECT has_column_privilege('{role}', '{TABLE}', 'model_id', 'INSERT'),"
            f" has_sequence_privilege('{role}', '{TABLE}_id_seq', 'USAGE')"
        ) == [(True, True)]
        comments = "obj_description(%s::regclass), obj_description('prediction_newest'::regclass)"
        assert execute(f"SELECT {comments}", [TABLE]) == [("it's the log", "of lists")]
        with pytest.raises(Exception, match="refused by a trigger"):
            record(version)
        execute(f"DROP TRIGGER refusing ON {TABLE}")
        record(version)
    finally:
        execute(f"DROP OWNED BY {role}")
        execute(f"DROP ROLE {role}")


def test_reverting_restores_the_plain_table(version: ModelVersion) -> None:
    rows = record(version, 10)
    add_values(rows, [1.0] * 10)
    before = structure()
    conversion.convert(ROWS)

    conversion.revert()

    assert structure() == before
    assert find_layout(connection) is None
    assert [row.pk for row in record(version)] == [rows[-1].pk + 1]
    assert execute("SELECT relname FROM pg_class WHERE relname LIKE 'predictions_from%%'") == []
    # And once more, now that the ids come from a sequence.
    assert conversion.convert(ROWS)
    assert structure() == before
    assert [row.pk for row in record(version)] == [rows[-1].pk + 2]


def test_reverting_is_refused_once_two_partitions_have_rows(partitioned: ModelVersion) -> None:
    record(partitioned, ROWS + 10)

    with pytest.raises(ConversionRefused, match="More than one partition has rows"):
        conversion.revert()

    assert find_layout(connection) is not None


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE VIEW seen AS SELECT id FROM predictions", "the view seen"),
        ("CREATE UNIQUE INDEX one ON predictions (request_id)", "the unique index one"),
        ("CREATE PUBLICATION news FOR TABLE predictions", "the publication news"),
    ],
)
def test_what_would_not_survive_is_named_and_nothing_is_changed(
    version: ModelVersion, statement: str, named: str
) -> None:
    execute(statement)
    before = structure()

    with pytest.raises(ConversionRefused, match=named):
        conversion.convert(ROWS)

    assert structure() == before


def test_a_table_that_stays_in_use_is_left_as_it_was(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = structure()
    switch, attempts = conversion._switch, []
    reader = other_connection()

    def switch_while_read(end_id: int) -> None:
        attempts.append(end_id)
        reader.execute("SELECT 1 FROM predictions")
        if len(attempts) == 2:
            # Its transaction ends before the constraint is dropped again.
            reader.rollback()
            raise SystemExit
        switch(end_id)

    monkeypatch.setattr(conversion, "_switch", switch_while_read)
    monkeypatch.setattr(locking, "MAX_PAUSE_SECONDS", 0.5)
    with pytest.raises(SystemExit):
        conversion.convert(ROWS)

    reader.close()
    assert len(attempts) == 2
    assert structure() == before


def test_a_lock_that_is_never_free_is_given_up(version: ModelVersion) -> None:
    with other_connection() as reader:
        reader.execute("SELECT 1 FROM predictions")

        with pytest.raises(TableBusy, match="not free in 1 attempts"):
            locking.attempt(lambda: execute(f"LOCK TABLE {TABLE}"), attempts=1)


def test_an_interrupted_conversion_is_finished_by_the_next_one(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_values(record(version, 10), [1.0] * 10)
    before = structure()
    # As after `kill -9` between the proof and the switch, and then after the switch.
    conversion._prove_bound(ROWS, lambda step: None)
    monkeypatch.setattr(conversion, "finish", lambda report: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        conversion.convert(ROWS)
    assert structure() != before
    monkeypatch.undo()

    assert conversion.convert(ROWS)

    assert structure() == before
    assert not conversion.convert(ROWS)


def test_two_processes_do_not_convert_at_once(version: ModelVersion) -> None:
    with exclusively(), pytest.raises(PartitionsUnavailable, match="Another process"):
        conversion.convert(ROWS)


def test_sqlite_has_no_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")

    with pytest.raises(CommandError, match="Only PostgreSQL has partitions"):
        call_command("partitions", "--convert")


def test_migrations_change_a_partitioned_log(partitioned: ModelVersion) -> None:
    rows = record(partitioned, ROWS + 10)
    index = models.Index("latency_ms", name="of_latency")
    field = models.FloatField(null=True)
    field.set_attributes_from_name("later")
    with connection.schema_editor() as editor:
        editor.add_index(Prediction, index)
        editor.add_field(Prediction, field)
    names = [name for name, _, _ in structure()[1]]
    with connection.schema_editor() as editor:
        editor.remove_index(Prediction, index)
        editor.remove_field(Prediction, field)
        editor.remove_index(Prediction, Prediction._meta.indexes[0])
        editor.add_index(Prediction, Prediction._meta.indexes[0])

    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    assert "of_latency" in names
    assert Prediction.objects.count() == len(rows)


@pytest.fixture
def load(version: ModelVersion) -> Iterator[tuple[list[int], list[Exception]]]:
    """Threads that record and list predictions: the ids so far, and what went wrong."""
    stop, written, errors = threading.Event(), [record(version)[0].pk], []

    def work() -> None:
        try:
            while not stop.is_set():
                [row] = recorder.record([Record(version, {"x": 1}, prediction=1.0)])
                assert isinstance(row, Record)
                written.append(row.pk)
                assert list(Prediction.objects.listed().newest_first()[:3])
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    with pool_limits(8, timeout_seconds=30):
        for thread in threads:
            thread.start()
        try:
            yield written, errors
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            connection.close()


def test_the_conversion_fails_no_reader_and_no_writer(
    load: tuple[list[int], list[Exception]],
) -> None:
    written, errors = load
    conversion.convert(100_000)
    assert errors == []
    before = len(written)

    create_ahead(ahead=3)
    conversion.revert()
    conversion.convert(100_000)

    assert errors == []
    assert len(written) > before
    assert set(written) <= set(Prediction.objects.values_list("pk", flat=True))


def test_partitions_are_dropped_under_load(load: tuple[list[int], list[Exception]]) -> None:
    _, errors = load
    conversion.convert(100_000)
    # As if the first partition were full.
    execute("SELECT setval('predictions_id_seq', 100000)")
    first_part = Prediction.objects.filter(pk__lt=100_000).count()

    dropped = partitions.drop_due([Due(timezone.now() + timedelta(hours=1))])

    assert errors == []
    assert dropped >= first_part > 0
    layout = find_layout(connection)
    assert layout is not None
    assert layout.partitions[0].first_id is not None
    assert execute("SELECT relname FROM pg_class WHERE relname LIKE 'predictions_dropped%%'") == []
