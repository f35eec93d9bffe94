"""Many moves of aliases at the same time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from django.db import connections

from registry import services
from registry.aliases import activation, moves
from registry.aliases.moves import AliasMoved, MoveRefused
from registry.models import Alias, AliasNotFound, ModelNotFound, ModelVersion
from registry.testing.aliases import N_THREADS, back, put, recorded_moves
from registry.testing.aliases import versions as versions


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(N_THREADS) as threads:
        yield threads


def hung_up(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Exception as error:
        return error
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_promotions_at_once_leave_one_holder_and_no_gap(
    versions: list[ModelVersion], pool: ThreadPoolExecutor
) -> None:
    outcomes = list(pool.map(lambda i: hung_up(lambda: put(str(i % 5 + 1))), range(N_THREADS)))

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert sum(is_new for _, is_new in outcomes) == 1
    kept = recorded_moves()
    assert [move.number for move in kept] == list(range(1, len(kept) + 1))
    assert [move.from_version_id for move in kept[1:]] == [move.to_version_id for move in kept[:-1]]
    assert all(move.from_version_id != move.to_version_id for move in kept)
    times = [move.created_at for move in kept]
    assert times == sorted(set(times))
    assert Alias.objects.get().version_id == kept[-1].to_version_id


@pytest.mark.django_db(transaction=True)
def test_every_kind_of_change_at_once_neither_hangs_nor_breaks_the_history(
    versions: list[ModelVersion], pool: ThreadPoolExecutor
) -> None:
    put("1")
    by_id = {version.version: version.pk for version in versions}

    def change(seed: int) -> Any:
        random = Random(seed)  # noqa: S311
        one, two, three = random.sample("12345", 3)
        kind = random.choice(
            ["put", "put", "arms", "back", "remove", "off", "forced", "on", "delete"]
        )
        return {
            "put": lambda: put(one),
            "arms": lambda: put(one, canary=(two, 5.0), shadows=[three]),
            "back": back,
            "remove": lambda: moves.remove_alias(name="wine", alias="champion"),
            "off": lambda: activation.revise(model_id=by_id[one], is_active=False),
            "forced": lambda: activation.revise(model_id=by_id[one], is_active=False, force=True),
            "on": lambda: activation.revise(model_id=by_id[one], is_active=True),
            "delete": lambda: services.delete_version(model_id=by_id["5"]),
        }[kind]()

    outcomes = list(pool.map(lambda i: hung_up(lambda: change(i)), range(300)))

    refused = (MoveRefused, AliasMoved, ModelNotFound, activation.VersionInUse)
    wrong = [
        each
        for each in outcomes
        if isinstance(each, Exception) and type(each) not in (*refused, AliasNotFound)
    ]
    assert wrong == []
    kept = recorded_moves()
    assert [move.number for move in kept] == list(range(1, len(kept) + 1))
    assert [move.from_version_id for move in kept[1:]] == [move.to_version_id for move in kept[:-1]]
    for alias in Alias.objects.all():
        assert (alias.version_id, alias.canary_id) == (kept[-1].to_version_id, kept[-1].canary_id)
        live = alias.arms
        assert [each.pk for each in live.shadows] == [
            shadow["model_id"] for shadow in kept[-1].shadows
        ]
        # Whoever deactivated a version by force took it out of these.
        assert all(each.is_active for each in (live.canary, *live.shadows) if each)
