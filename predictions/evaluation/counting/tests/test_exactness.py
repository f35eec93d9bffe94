"""Whatever happens in which order, counts are those of the rows that there are."""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictions.evaluation.counting import following, log, recounting
from predictions.evaluation.counting.ledger import Outdated
from predictions.evaluation.counting.segments import segments_changed
from predictions.evaluation.counting.work import count_due
from predictions.models import (
    CountedTo,
    Erasure,
    HourCounts,
    Monitor,
    Prediction,
    Reference,
    StaleHour,
)
from predictions.retention import pruning
from predictions.retention.erasing import erase
from predictions.testing.counting import (
    churn,
    count_all,
    create_random,
    fresh_counts,
    monitor,
    random_prediction,
    set_random_reference,
    stored_counts,
)
from predictions.testing.rows import NOON, wait_until_followable
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, RegisteredModel

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOON + timedelta(hours=9)
SEGMENTS: list[JSONObject] = [{"feature": "plan"}, {"metadata": "region", "values": ["EU", "US"]}]


def insert(version: ModelVersion, seed: int) -> None:
    create_random(version, seed, 12)


def insert_shadows(version: ModelVersion, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 -- data
    primary = random_prediction(version, rng, alias="live", arm="primary")
    primary.save()
    shadow = random_prediction(version, rng, alias="live", arm="shadow", primary=primary)
    shadow.save()


def erase_subject(version: ModelVersion, seed: int) -> None:
    erase(kind=Erasure.Kind.SUBJECT, name=f"subject {seed % 5}", reason="asked")


def prune(version: ModelVersion, seed: int) -> None:
    pruning.prune(pruning.Due(NOON + timedelta(minutes=seed % 90), model_id=version.pk))


def delete_one(version: ModelVersion, seed: int) -> None:
    row = Prediction.objects.order_by("?").first()
    if row is not None:
        row.delete()


def set_reference(version: ModelVersion, seed: int) -> None:
    set_random_reference(version, seed=seed % 3, rows=150)


def change_segments(version: ModelVersion, seed: int) -> None:
    Monitor.objects.update(segments=SEGMENTS[: seed % 3])
    segments_changed(version.name)


def follow(version: ModelVersion, seed: int) -> None:
    wait_until_followable()
    following.follow()


def recount(version: ModelVersion, seed: int) -> None:
    recounting.recount()


OPERATIONS: list[Callable[[ModelVersion, int], None]] = [
    insert,
    insert,
    insert_shadows,
    erase_subject,
    prune,
    delete_one,
    set_reference,
    change_segments,
    follow,
    follow,
    recount,
]


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 1000)), min_size=5, max_size=15
    )
)
def test_counts_are_exact_after_any_operations(steps: list[tuple[Any, int]]) -> None:
    forget_everything()
    version = churn()
    monitor(version, SEGMENTS[:1])
    for operation, seed in steps:
        operation(version, seed)
    count_all()

    assert stored_counts(version) == fresh_counts(version)
    assert not StaleHour.objects.exists()


def forget_everything() -> None:
    for table in (Prediction, Monitor, Reference, StaleHour, CountedTo):
        table.objects.all().delete()
    ModelVersion.objects.all().delete()
    RegisteredModel.objects.all().delete()


def test_nothing_is_left_of_an_erased_subject() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 50)
    count_all()
    before = {key: counts["subjects"] for key, counts in stored_counts(version).items()}

    erase(kind=Erasure.Kind.SUBJECT, name="subject 1", reason="asked")
    count_all()

    after = {key: counts["subjects"] for key, counts in stored_counts(version).items()}
    assert after != before
    assert stored_counts(version) == fresh_counts(version)


def test_rows_that_are_deleted_while_they_are_counted_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 20, hours=1)
    count_all()
    row = Prediction.objects.create(model=version, input_data={}, created_at=LATER)
    wait_until_followable()
    read = following._read

    def read_and_delete(*arguments: Any) -> Any:
        rows = read(*arguments)
        row.delete()
        # Its hour is counted, and no longer marked, before the rows that were read are.
        recounting.recount()
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(following, "_read", read_and_delete)
        with pytest.raises(Outdated):
            following.follow()
    count_all()

    assert not HourCounts.objects.filter(hour=LATER).exists()


def test_an_hour_that_is_marked_while_it_is_counted_stays_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = churn()
    set_random_reference(version)
    rows = create_random(version, 1, 20, hours=1)
    count_all()
    rows[0].delete()
    chunks = log.chunks

    def read_and_delete(*arguments: Any, **options: Any) -> Any:
        yield from chunks(*arguments, **options)
        rows[1].delete()

    with monkeypatch.context() as patch:
        patch.setattr(recounting, "chunks", read_and_delete)
        with pytest.raises(Outdated):
            recounting.recount()

    assert StaleHour.objects.count() == 1
    count_all()
    assert HourCounts.objects.get(segment="").rows == 18


def test_rows_that_are_committed_during_a_long_recount_do_not_let_it_start_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 40, hours=2)
    wait_until_followable()
    following.follow()
    reads: list[int] = []

    def read_while_others_write(*arguments: Any, **options: Any) -> Any:
        yield from chunks(*arguments, **options)
        reads.append(1)
        if len(reads) <= 3:
            create_random(version, 1 + len(reads), 15, hours=2)
            wait_until_followable()
            following.follow()

    chunks = log.chunks
    with monkeypatch.context() as patch:
        patch.setattr(recounting, "chunks", read_while_others_write)
        assert recounting.recount()

    assert not StaleHour.objects.exists()
    assert stored_counts(version) == fresh_counts(version)
    assert sum(row.rows for row in HourCounts.objects.filter(segment="")) == 85


def test_a_long_recount_asks_between_chunks_whether_it_may_go_on_and_keeps_complete_hours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 60)
    wait_until_followable()
    following.follow()
    monkeypatch.setattr(log, "CHUNK_ROWS", 7)
    answers = iter([True] * 4 + [False])

    recounting.recount(may_continue=lambda: next(answers))

    assert HourCounts.objects.exists()
    assert StaleHour.objects.exists()
    assert stored_counts(version).keys() < fresh_counts(version).keys()
    count_all()
    assert stored_counts(version) == fresh_counts(version)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="has one writer at a time")
def test_counting_hours_again_does_not_deadlock_with_a_deletion() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 40, hours=2)
    wait_until_followable()
    following.follow()
    # As the table happens to have them: the later hour first.
    first, second = [(version.pk, NOON + timedelta(hours=hour)) for hour in (0, 1)]
    StaleHour.objects.all().delete()
    StaleHour.objects.mark([second])
    StaleHour.objects.mark([first])
    raised: list[BaseException] = []

    def recount() -> None:
        try:
            recounting.recount()
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=recount)
    with transaction.atomic():
        StaleHour.objects.mark([first])
        thread.start()
        await_waiting_process()
        StaleHour.objects.mark([second])
    thread.join()

    assert [type(error) for error in raised] == [Outdated]


def await_waiting_process() -> None:
    """Until another process of the database waits for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    for _ in range(200):
        with connection.cursor() as cursor:
            cursor.execute(waiting, [connection.settings_dict["NAME"]])
            if cursor.fetchone():
                return
        time.sleep(0.05)
    raise AssertionError("No process waits")


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="has one writer at a time")
def test_many_counters_and_writers_at_once_count_each_row_once() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 0, 200)
    wait_until_followable()
    is_over = threading.Event()
    failures: list[BaseException] = []

    def repeat(action: Callable[[], object]) -> None:
        try:
            while not is_over.is_set():
                action()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def delete_some() -> None:
        pruning.prune(pruning.Due(NOON + timedelta(minutes=20)))

    seeds = iter(range(1, 10_000))
    actions = [count_due, count_due, delete_some, lambda: create_random(version, next(seeds), 20)]
    threads = [threading.Thread(target=repeat, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    is_over.wait(4)
    is_over.set()
    for thread in threads:
        thread.join()
    count_all()

    assert not failures
    assert stored_counts(version) == fresh_counts(version)
