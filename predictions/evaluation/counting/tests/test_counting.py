"""Counts of hours are those of the rows, whatever happens to these."""

import random
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from predictions.evaluation.counting import hours, plans, reading, recounting
from predictions.evaluation.counting.segments import segments_changed
from predictions.evaluation.counting.work import count_due
from predictions.models import CountedTo, HourCounts, Prediction, StaleHour
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

pytestmark = pytest.mark.django_db(transaction=True)


def peak_bytes(action: Callable[[], object]) -> int:
    """The most memory that is taken at once."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_rows_before_and_after_the_first_count_are_counted() -> None:
    version = churn()
    create_random(version, 1, 50)
    set_random_reference(version)
    count_all()
    create_random(version, 2, 30)
    count_all()

    assert sum(row.rows for row in HourCounts.objects.filter(segment="")) == 80
    assert stored_counts(version) == fresh_counts(version)
    assert not StaleHour.objects.exists()


def test_counting_again_changes_nothing() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 20)
    count_all()
    before = stored_counts(version), CountedTo.objects.get().changes

    count_all()

    assert (stored_counts(version), CountedTo.objects.get().changes) == before


def test_rows_that_come_late_are_added_to_their_hour() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 20, hours=1)
    count_all()
    create_random(version, 2, 5, hours=1)
    count_all()

    assert HourCounts.objects.get(segment="").rows == 25
    assert stored_counts(version) == fresh_counts(version)


def test_hours_of_deleted_rows_are_counted_again() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 60)
    count_all()

    Prediction.objects.filter(created_at__lt=NOON + timedelta(hours=2)).delete()

    assert StaleHour.objects.count() == 2
    count_all()
    assert HourCounts.objects.get().hour == NOON + timedelta(hours=2)
    assert stored_counts(version) == fresh_counts(version)


def test_the_hour_of_one_deleted_row_and_of_its_shadow_are_counted_again() -> None:
    version, other = churn(), churn("other")
    set_random_reference(other)
    [primary] = create_random(version, 1, 1, hours=1)
    later = NOON + timedelta(hours=5)
    Prediction.objects.create(
        model=other,
        input_data={},
        prediction=1,
        primary=primary,
        alias="a",
        arm="shadow",
        created_at=later,
    )
    count_all()
    assert HourCounts.objects.get().hour == later

    primary.delete()
    count_all()

    assert not HourCounts.objects.exists()


def test_segments_are_counted() -> None:
    version = churn()
    set_random_reference(version)
    monitor(
        version,
        [
            {"feature": "plan"},
            {"metadata": "region", "values": ["EU"]},
            {"arm": True},
        ],
    )
    create_random(version, 1, 50, hours=1)
    rows = Prediction.objects.all()
    Prediction.objects.filter(pk=rows[0].pk).update(alias="live", arm="canary")
    count_all()

    counted = {row.segment: row.rows for row in HourCounts.objects.all()}

    assert counted["feature:plan=gold"] == sum(row.input_data["plan"] == "gold" for row in rows)
    assert counted["metadata:region=EU"] == sum(row.metadata == {"region": "EU"} for row in rows)
    assert counted["arm=canary"] == 1
    assert set(counted) == {
        "",
        "feature:plan=gold",
        "feature:plan=free",
        "feature:plan=silver",
        "metadata:region=EU",
        "arm=canary",
    }


def test_new_segments_are_counted_of_the_hours_before_and_old_ones_are_removed() -> None:
    version = churn()
    set_random_reference(version)
    row = monitor(version, [{"arm": True}])
    create_random(version, 1, 50, hours=1)
    Prediction.objects.update(alias="live", arm="primary")
    count_all()

    row.segments = [{"metadata": "region", "values": ["US"]}]
    row.save()
    segments_changed(version.name)
    count_all()

    assert set(HourCounts.objects.values_list("segment", flat=True)) == {"", "metadata:region=US"}
    assert stored_counts(version) == fresh_counts(version)


def test_a_new_reference_is_counted_by_and_the_counts_of_the_old_one_are_gone() -> None:
    version = churn()
    set_random_reference(version)
    create_random(version, 1, 50)
    count_all()

    new = set_random_reference(version, seed=2)
    count_all()

    assert set(HourCounts.objects.values_list("reference", flat=True)) == {new.pk}
    assert stored_counts(version) == fresh_counts(version)


def test_hours_of_several_versions_are_marked_in_the_order_of_time() -> None:
    versions = [churn(), churn("other")]
    for version in versions:
        create_random(version, 1, 40, hours=2)

    hours.mark_versions(version.pk for version in versions)

    marked = list(StaleHour.objects.order_by("pk").values_list("hour", "model"))
    assert marked == sorted(marked)
    assert len(marked) == 4


def test_hours_of_versions_without_a_reference_are_not_counted() -> None:
    version = churn()
    create_random(version, 1, 20)
    count_all()
    Prediction.objects.all()[0].delete()
    assert StaleHour.objects.count() == 1

    count_all()

    assert not HourCounts.objects.exists()
    assert not StaleHour.objects.exists()


def test_the_counts_of_a_window() -> None:
    version = churn()
    reference = set_random_reference(version)
    create_random(version, 1, 90)
    count_all()
    since, until = NOON + timedelta(hours=1), NOON + timedelta(hours=3)

    counts = reading.counts_of(reference, ["", "arm=canary"], since, until)

    rows = Prediction.objects.filter(created_at__gte=since, created_at__lt=until)
    assert counts[""].rows == rows.count()
    assert counts[""].failed == rows.filter(status="failed").count()
    assert counts["arm=canary"].rows == 0


def test_a_long_window_takes_no_more_memory_than_a_short_one() -> None:
    version = churn()
    reference = set_random_reference(version)
    create_random(version, 1, 200, hours=1)
    count_all()
    row = HourCounts.objects.get(segment="")
    HourCounts.objects.bulk_create(
        HourCounts(
            reference=reference,
            hour=NOON + timedelta(hours=hour),
            rows=row.rows,
            counts=row.counts,
        )
        for hour in range(1, 500)
    )

    def read(hours: int) -> None:
        counts = reading.counts_of(reference, [""], NOON, NOON + timedelta(hours=hours))
        assert counts[""].rows == hours * row.rows

    assert peak_bytes(lambda: read(500)) < 1.5 * peak_bytes(lambda: read(100))


def test_many_segments_and_hours_are_counted_in_little_memory() -> None:
    version = churn()
    set_random_reference(version)
    regions = [f"region {number}" for number in range(20)]
    monitor(version, [{"metadata": "region", "values": regions}])
    create_random(version, 1, 1)
    count_all()
    rng = random.Random(1)  # noqa: S311 -- data
    Prediction.objects.bulk_create(
        random_prediction(
            version, rng, metadata={"region": region}, created_at=NOON + timedelta(hours=hour)
        )
        for region in regions
        for hour in range(24)
    )
    # As arrays, the counts of 24 hours, 21 segments and 4096 levels of probability are 34 MB.
    limit_bytes = 15_000_000

    assert peak_bytes(count_all) < limit_bytes
    assert HourCounts.objects.count() == 24 * 21
    segments_changed(version.name)
    assert peak_bytes(count_all) < limit_bytes
    assert stored_counts(version) == fresh_counts(version)


def test_counts_are_current_until_their_rows_or_their_reference_change() -> None:
    version = churn()
    reference = set_random_reference(version)
    create_random(version, 1, 10)
    until = NOON + timedelta(hours=3)
    count_all()
    assert reading.is_current(reference, NOON, until)

    Prediction.objects.all()[0].delete()

    assert not reading.is_current(reference, NOON, until)
    assert reading.is_current(reference, until, until + timedelta(hours=1))
    set_random_reference(version, seed=2)
    count_all()
    assert not reading.is_current(reference, NOON, until)


def test_profiles_are_kept_as_long_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    ids = [set_random_reference(churn(name)).pk for name in ("one", "two", "three")]
    size_bytes = plans.profile_of(ids[0]).size_bytes
    # The second class has 4096 levels of 16 bytes, in all rows and in each plan.
    assert 4 * 4096 * 16 < size_bytes < 4 * 4096 * 16 * 1.5
    monkeypatch.setattr(plans, "_PROFILES", plans._Profiles(int(2.5 * size_bytes)))
    for reference_id in ids:
        plans.profile_of(reference_id)

    with django_assert_num_queries(2):
        kept = [plans.profile_of(reference_id) for reference_id in ids[1:]]
    with django_assert_num_queries(2):
        plans.profile_of(ids[0])
    assert kept[0] is not plans.profile_of(ids[1])

    monkeypatch.setattr(plans, "_PROFILES", plans._Profiles(1))
    assert plans.profile_of(ids[0]) is plans.profile_of(ids[0])


def test_progress_tells_of_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recounting, "MAX_ROWS", 5)
    version = churn()
    create_random(version, 1, 60)
    set_random_reference(version)
    wait_until_followable()
    reported: list[int] = []

    count_due(committing=reported.append)

    assert sum(reported) == 60
