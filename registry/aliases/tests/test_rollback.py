"""Rolling an alias back, removing it, and reading its past states."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.db.models import Q
from django.utils import timezone

from registry.aliases import moves
from registry.aliases.recording import AliasMoved, Attribution
from registry.aliases.validation import MoveRefused
from registry.models import AliasMove, AliasNotFound, AliasShadow, Arms, ModelVersion
from registry.models.alias_moves import MIN_MOVE_INTERVAL
from registry.testing.aliases import arms, recorded_moves, roll_back, set_alias
from registry.testing.aliases import versions as versions


def quarantine(version: ModelVersion) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(
        quarantined_at=timezone.now(), quarantine_reason="its process crashed"
    )


# -- rolling back


def test_a_second_rollback_goes_further_back(versions: list[ModelVersion]) -> None:
    for version in "123":
        set_alias(version)

    roll_back()
    assert arms().version == versions[1]
    roll_back()
    assert arms().version == versions[0]
    with pytest.raises(MoveRefused, match="no earlier version"):
        roll_back()
    assert [(move.action, move.restores) for move in recorded_moves()[3:]] == [
        ("rolled_back", 2),
        ("rolled_back", 1),
    ]


def test_a_rollback_skips_versions_that_were_rolled_back(versions: list[ModelVersion]) -> None:
    set_alias("1")
    set_alias("2")
    roll_back()
    set_alias("1", shadows=["5"])
    set_alias("3")

    assert roll_back().version == versions[0]
    assert arms().shadows == (versions[4],)
    with pytest.raises(MoveRefused):
        roll_back()


def test_a_rollback_does_not_send_callers_to_a_version_in_quarantine(
    versions: list[ModelVersion],
) -> None:
    set_alias("1")
    set_alias("2")
    quarantine(versions[0])

    with pytest.raises(MoveRefused, match="in quarantine"):
        roll_back()

    assert arms().version == versions[1]


def test_a_rollback_restores_neither_the_canary_nor_unusable_shadows(
    versions: list[ModelVersion],
) -> None:
    set_alias("1", canary=("2", 50.0), shadows=["3", "4", "5"])
    set_alias("2", shadows=[])
    versions[3].update(is_active=False)
    quarantine(versions[4])

    roll_back()

    assert arms() == Arms(versions[0], shadows=(versions[2],))


def test_a_rollback_skips_changes_of_canary_and_shadows(
    versions: list[ModelVersion],
) -> None:
    set_alias("1")
    set_alias("2")
    set_alias("2", canary=("3", 1.0))
    set_alias("2", canary=("3", 2.0), shadows=["4"])

    assert roll_back().version == versions[0]


def test_an_inactive_version_is_not_restored(versions: list[ModelVersion]) -> None:
    set_alias("1")
    set_alias("2")
    versions[0].update(is_active=False)

    with pytest.raises(MoveRefused, match="wine@champion cannot go back to wine:1: it is inactive"):
        roll_back()


def test_a_deleted_version_is_not_restored(versions: list[ModelVersion]) -> None:
    set_alias("1")
    set_alias("2")
    versions[0].delete()

    with pytest.raises(MoveRefused, match="inactive or deleted"):
        roll_back()


def test_a_recreated_alias_cannot_go_back_to_before_its_removal(
    versions: list[ModelVersion],
) -> None:
    set_alias("1")
    moves.remove_alias(name="wine", alias="champion")
    with pytest.raises(AliasNotFound):
        roll_back()
    set_alias("2")

    with pytest.raises(MoveRefused, match="no earlier version"):
        roll_back()


def test_a_rollback_is_refused_if_the_alias_has_moved_in_the_meantime(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias("1")
    set_alias("2")
    lock_in_id_order = moves._lock_in_id_order

    def move_first(condition: Q) -> Iterable[ModelVersion]:
        monkeypatch.setattr(moves, "_lock_in_id_order", lock_in_id_order)
        set_alias("3")
        return lock_in_id_order(condition)

    monkeypatch.setattr(moves, "_lock_in_id_order", move_first)
    with pytest.raises(AliasMoved):
        roll_back()


# -- removing, and past states


def test_the_history_outlives_the_alias_and_keeps_counting(versions: list[ModelVersion]) -> None:
    set_alias("1", shadows=["2"])
    moves.remove_alias(name="wine", alias="champion", attribution=Attribution("retired"))
    set_alias("3")

    assert [(move.number, move.action, move.to_version) for move in recorded_moves()] == [
        (1, "set", "1"),
        (2, "removed", ""),
        (3, "set", "3"),
    ]
    assert recorded_moves()[1].from_version_id == versions[0].pk
    assert recorded_moves()[2].from_version_id is None
    assert not AliasShadow.objects.exists()


def test_reading_a_past_state_takes_one_query(
    versions: list[ModelVersion], django_assert_num_queries: Any
) -> None:
    set_alias("1")
    set_alias("2", canary=("3", 10.0), shadows=["4"])
    moves.remove_alias(name="wine", alias="champion")
    first, second, third = recorded_moves()
    live_at = AliasMove.objects.live_at

    assert live_at("wine", "champion", first.created_at) == first
    with django_assert_num_queries(1):
        live = live_at("wine", "champion", third.created_at - MIN_MOVE_INTERVAL)
    assert live == second
    assert (live.canary_id, live.canary_percent) == (versions[2].pk, 10.0)
    assert live.shadows == [{"model_id": versions[3].pk, "version": "4"}]
    for time in (first.created_at - MIN_MOVE_INTERVAL, third.created_at):
        with pytest.raises(AliasNotFound, match="no such alias at"):
            live_at("wine", "champion", time)


def test_move_times_increase_even_if_the_clock_stands_still(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias("1")
    now = recorded_moves()[0].created_at
    monkeypatch.setattr(timezone, "now", lambda: now)
    set_alias("2")
    set_alias("3")

    times = [move.created_at for move in recorded_moves()]
    assert times == sorted(set(times))
