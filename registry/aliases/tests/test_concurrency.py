"""Concurrent moves of an alias."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from django.db import connections

from registry import services
from registry.aliases import activation, moves
from registry.aliases.recording import AliasMoved
from registry.aliases.validation import MoveRefused
from registry.models import Alias, AliasMove, AliasNotFound, ModelNotFound, ModelVersion
from registry.testing.aliases import N_THREADS, recorded_moves, roll_back, set_alias
from registry.testing.aliases import versions as versions


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(N_THREADS) as threads:
        yield threads


def result_of(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Exception as error:
        return error
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_concurrent_promotions_leave_one_version_and_no_gap(
    versions: list[ModelVersion], pool: ThreadPoolExecutor
) -> None:
    results = list(
        pool.map(lambda i: result_of(lambda: set_alias(str(i % 5 + 1))), range(N_THREADS))
    )

    assert [result for result in results if isinstance(result, Exception)] == []
    assert sum(is_new for _, is_new in results) == 1
    recorded = recorded_moves()
    assert_gapless(recorded)
    assert all(move.from_version_id != move.to_version_id for move in recorded)
    times = [move.created_at for move in recorded]
    assert times == sorted(set(times))
    assert Alias.objects.get().version_id == recorded[-1].to_version_id


@pytest.mark.django_db(transaction=True)
def test_concurrent_changes_of_every_kind_neither_deadlock_nor_break_the_history(
    versions: list[ModelVersion], pool: ThreadPoolExecutor
) -> None:
    set_alias("1")
    ids = {version.version: version.pk for version in versions}

    results = list(pool.map(lambda i: result_of(lambda: change_at_random(i, ids)), range(300)))

    refusals = (MoveRefused, AliasMoved, ModelNotFound, AliasNotFound, activation.VersionInUse)
    unexpected = [
        result
        for result in results
        if isinstance(result, Exception) and type(result) not in refusals
    ]
    assert unexpected == []
    recorded = recorded_moves()
    assert_gapless(recorded)
    last = recorded[-1]
    for alias in Alias.objects.all():
        assert (alias.version_id, alias.canary_id) == (last.to_version_id, last.canary_id)
        live = alias.arms
        assert [row.pk for row in live.shadows] == [row["model_id"] for row in last.shadows]
        # A forced deactivation removes a version from these.
        assert all(version.is_active for version in (live.canary, *live.shadows) if version)


def change_at_random(seed: int, ids: dict[str, int]) -> object:
    random = Random(seed)  # noqa: S311
    one, two, three = random.sample("12345", 3)
    kinds = ["set", "set", "arms", "back", "remove", "off", "forced", "on", "delete"]
    changes: dict[str, Callable[[], object]] = {
        "set": lambda: set_alias(one),
        "arms": lambda: set_alias(one, canary=(two, 5.0), shadows=[three]),
        "back": roll_back,
        "remove": lambda: moves.remove_alias(name="wine", alias="champion"),
        "off": lambda: activation.update_version(model_id=ids[one], is_active=False),
        "forced": lambda: activation.update_version(model_id=ids[one], is_active=False, force=True),
        "on": lambda: activation.update_version(model_id=ids[one], is_active=True),
        "delete": lambda: services.delete_version(model_id=ids["5"]),
    }
    return changes[random.choice(kinds)]()


def assert_gapless(recorded: list[AliasMove]) -> None:
    """Each move has the next number, and starts from the version where the one before ended."""
    assert [move.number for move in recorded] == list(range(1, len(recorded) + 1))
    to_ids = [move.to_version_id for move in recorded[:-1]]
    assert [move.from_version_id for move in recorded[1:]] == to_ids
