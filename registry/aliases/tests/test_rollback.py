"""Rolling an alias back, removing it, and looking back at it."""

from typing import Any

import pytest
from django.utils import timezone

from registry.aliases import moves
from registry.aliases.moves import AliasMoved, Cause, MoveRefused
from registry.models import AliasMove, AliasNotFound, AliasShadow, Arms, ModelVersion
from registry.models.moves import SHORTEST_LIFE
from registry.testing.aliases import arms, back, put, recorded_moves
from registry.testing.aliases import versions as versions

# -- rolling back


def test_a_rollback_goes_back_and_a_second_one_further(versions: list[ModelVersion]) -> None:
    for version in "123":
        put(version)

    back()
    assert arms().version == versions[1]
    back()
    assert arms().version == versions[0]
    with pytest.raises(MoveRefused, match="no other version before"):
        back()
    assert [(move.action, move.restores) for move in recorded_moves()[3:]] == [
        ("rolled_back", 2),
        ("rolled_back", 1),
    ]


def test_what_was_rolled_back_is_not_gone_back_to(versions: list[ModelVersion]) -> None:
    put("1")
    put("2")
    back()
    put("1", shadows=["5"])
    put("3")

    assert back().version == versions[0]
    assert arms().shadows == (versions[4],)
    with pytest.raises(MoveRefused):
        back()


def test_a_rollback_leaves_out_the_canary_and_shadows_that_can_not_answer(
    versions: list[ModelVersion],
) -> None:
    put("1", canary=("2", 50.0), shadows=["3", "4"])
    put("2", shadows=[])
    versions[3].revise(is_active=False)

    back()

    assert arms() == Arms(versions[0], shadows=(versions[2],))


def test_changes_of_canary_and_shadows_are_no_version_to_go_back_to(
    versions: list[ModelVersion],
) -> None:
    put("1")
    put("2")
    put("2", canary=("3", 1.0))
    put("2", canary=("3", 2.0), shadows=["4"])

    assert back().version == versions[0]


def test_an_inactive_version_is_not_gone_back_to(versions: list[ModelVersion]) -> None:
    put("1")
    put("2")
    versions[0].revise(is_active=False)

    with pytest.raises(MoveRefused, match="wine:1, which wine@champion was before, is inactive"):
        back()


def test_a_deleted_version_is_not_gone_back_to(versions: list[ModelVersion]) -> None:
    put("1")
    put("2")
    versions[0].delete()

    with pytest.raises(MoveRefused, match="inactive or deleted"):
        back()


def test_there_is_nothing_before_an_alias_was_made_again(versions: list[ModelVersion]) -> None:
    put("1")
    moves.remove_alias(name="wine", alias="champion")
    with pytest.raises(AliasNotFound):
        back()
    put("2")

    with pytest.raises(MoveRefused, match="no other version before"):
        back()


def test_a_rollback_of_what_was_moved_meanwhile_is_refused(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("1")
    put("2")
    real = moves._locked

    def meanwhile(**which: Any) -> Any:
        monkeypatch.setattr(moves, "_locked", real)
        put("3")
        return real(**which)

    monkeypatch.setattr(moves, "_locked", meanwhile)
    with pytest.raises(AliasMoved):
        back()


# -- removing, and the history


def test_the_history_outlives_its_alias_and_counts_on(versions: list[ModelVersion]) -> None:
    put("1", shadows=["2"])
    moves.remove_alias(name="wine", alias="champion", cause=Cause("retired"))
    put("3")

    assert [(move.number, move.action, move.to_version) for move in recorded_moves()] == [
        (1, "set", "1"),
        (2, "removed", ""),
        (3, "set", "3"),
    ]
    assert recorded_moves()[1].from_version_id == versions[0].pk
    assert recorded_moves()[2].from_version_id is None
    assert not AliasShadow.objects.exists()


def test_what_was_live_at_a_time_is_one_query(
    versions: list[ModelVersion], django_assert_num_queries: Any
) -> None:
    put("1")
    put("2", canary=("3", 10.0), shadows=["4"])
    moves.remove_alias(name="wine", alias="champion")
    first, second, third = recorded_moves()
    at = AliasMove.objects.live_at

    assert at("wine", "champion", first.created_at) == first
    with django_assert_num_queries(1):
        live = at("wine", "champion", third.created_at - SHORTEST_LIFE)
    assert live == second
    assert (live.canary_id, live.canary_percent) == (versions[2].pk, 10.0)
    assert live.shadows == [{"model_id": versions[3].pk, "version": "4"}]
    for when in (first.created_at - SHORTEST_LIFE, third.created_at):
        with pytest.raises(AliasNotFound, match="no such alias at"):
            at("wine", "champion", when)


def test_times_of_moves_rise_even_if_the_clock_does_not(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("1")
    now = recorded_moves()[0].created_at
    monkeypatch.setattr(timezone, "now", lambda: now)
    put("2")
    put("3")

    times = [move.created_at for move in recorded_moves()]
    assert times == sorted(set(times))
