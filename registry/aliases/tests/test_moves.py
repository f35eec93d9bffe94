"""Setting an alias: what stays, what is refused, and the gate."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connections, transaction

from registry.aliases import moves
from registry.aliases.moves import AliasMoved, Cause, MoveRefused
from registry.models import Alias, Arms, ModelNotFound, ModelVersion
from registry.testing.aliases import arms, put, recorded_moves
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

# -- setting


def test_an_alias_is_made_moved_and_its_moves_are_kept(
    versions: list[ModelVersion], user: User
) -> None:
    _, is_new = put("1", cause=Cause("first", user, "r-1"))
    _, is_new_again = put("2", cause=Cause("better"))

    assert (is_new, is_new_again) == (True, False)
    assert arms() == Arms(versions[1])
    first, second = recorded_moves()
    assert (first.number, first.action, first.from_version_id, first.to_version_id) == (
        1,
        "set",
        None,
        versions[0].pk,
    )
    assert (first.reason, first.user, first.request_id) == ("first", user, "r-1")
    assert (second.number, second.from_version, second.to_version) == (2, "1", "2")
    assert (second.reason, second.user) == ("better", None)
    assert first.created_at < second.created_at


def test_a_move_to_what_is_there_changes_nothing(versions: list[ModelVersion]) -> None:
    put("1", canary=("2", 10.0), shadows=["3", "4"])

    _, is_new = put("1", canary=("2", 10.0), shadows=["4", "3"])
    put("1")

    assert not is_new
    assert len(recorded_moves()) == 1


def test_a_canary_and_shadows_stay_until_they_are_named(versions: list[ModelVersion]) -> None:
    put("1", canary=("2", 10.0), shadows=["3"])

    put("4")

    assert arms() == Arms(versions[3], versions[1], 10.0, (versions[2],))
    put("4", canary=None, shadows=[])
    assert arms() == Arms(versions[3])
    assert [move.action for move in recorded_moves()] == ["set", "set", "configured"]


def test_who_is_promoted_is_no_longer_canary_or_shadow(versions: list[ModelVersion]) -> None:
    put("1", canary=("2", 10.0), shadows=["3", "4"])

    put("2")
    assert arms() == Arms(versions[1], shadows=(versions[2], versions[3]))
    put("3")
    assert arms() == Arms(versions[2], shadows=(versions[3],))


def test_the_salt_never_changes(versions: list[ModelVersion]) -> None:
    put("1", canary=("2", 10.0))
    salt = Alias.objects.get().salt

    put("3", canary=("4", 50.0))

    assert Alias.objects.get().salt == salt
    put("1", alias="other")
    assert Alias.objects.get(alias="other").salt != salt


def test_a_route_is_one_query(versions: list[ModelVersion], raw_statements: list[str]) -> None:
    put("1", canary=("2", 12.5), shadows=["5", "3"])
    put("1", alias="plain")
    salt = Alias.objects.get(alias="champion").salt

    route = Alias.objects.route("wine")

    assert len(raw_statements) == 1
    first, second, third, _, fifth = (version.pk for version in versions)
    assert (route.name, route.alias, route.version_id) == ("wine", "champion", first)
    assert (route.canary_id, route.canary_percent, route.salt) == (second, 12.5, salt)
    assert route.shadow_ids == (third, fifth)
    assert Alias.objects.route("wine", "plain").shadow_ids == ()
    assert Alias.objects.route("wine", "plain").canary_id is None


def test_an_unknown_alias_has_no_route(versions: list[ModelVersion]) -> None:
    with pytest.raises(ModelNotFound, match="Model wine@x not found: no such alias"):
        Alias.objects.route("wine", "x")


def test_the_id_of_a_version_is_one_query(
    versions: list[ModelVersion], raw_statements: list[str]
) -> None:
    assert ModelVersion.objects.id_of("wine", "2") == versions[1].pk
    assert len(raw_statements) == 1
    versions[1].revise(is_active=False)
    for version in ("2", "9"):
        with pytest.raises(ModelNotFound, match=f"Model wine:{version} not found or inactive"):
            ModelVersion.objects.id_of("wine", version)


# -- refusals


@pytest.mark.parametrize("role", ["version", "canary", "shadow"])
@pytest.mark.parametrize(
    ("broken", "said"), [("inactive", "is inactive"), ("bare", "has no artifact yet")]
)
def test_a_version_that_can_not_answer_is_refused_in_every_role(
    versions: list[ModelVersion], make_version: MakeVersion, role: str, broken: str, said: str
) -> None:
    versions[4].revise(is_active=False)
    make_version("wine", version="bare")
    wrong = {"inactive": "5", "bare": "bare"}[broken]
    put("1")
    how: dict[str, Any] = {"canary": {"canary": (wrong, 5.0)}, "shadow": {"shadows": [wrong]}}

    with pytest.raises(MoveRefused, match=said):
        put(wrong if role == "version" else "2", **how.get(role, {}), force=True)

    assert arms() == Arms(versions[0])
    assert len(recorded_moves()) == 1


def test_an_unknown_version_is_named_and_no_alias_is_left(versions: list[ModelVersion]) -> None:
    with pytest.raises(ModelNotFound, match="Model wine:9 not found"):
        put("9")
    with pytest.raises(ModelNotFound, match="Model wine:8 not found"):
        put("1", canary=("8", 1.0))

    assert not Alias.objects.exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [({"canary": ("1", 5.0)}, "its own canary"), ({"shadows": ["1"]}, "its own shadow")],
)
def test_a_version_is_not_its_own_canary_or_shadow(
    versions: list[ModelVersion], how: dict[str, Any], said: str
) -> None:
    with pytest.raises(MoveRefused, match=said):
        put("1", **how)


def test_an_alias_has_a_bounded_number_of_shadows(
    versions: list[ModelVersion], make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    for number in range(6, 9):
        make_version("wine", iris_artifact, version=str(number))

    with pytest.raises(MoveRefused, match="5 shadows at most, not 6"):
        put("1", shadows=list("345678"))


@pytest.mark.parametrize("role", ["version", "canary", "shadow"])
def test_a_version_that_could_not_answer_the_callers_needs_force(
    versions: list[ModelVersion],
    make_version: MakeVersion,
    diabetes_artifact: Artifact,
    role: str,
) -> None:
    make_version("wine", diabetes_artifact, version="other")
    put("1")
    how: dict[str, Any] = {"canary": {"canary": ("other", 5.0)}, "shadow": {"shadows": ["other"]}}
    version = "other" if role == "version" else "1"

    with pytest.raises(MoveRefused, match=r"wine:other could not answer the callers of wine:1: it"):
        put(version, **how.get(role, {}))

    assert arms() == Arms(versions[0])
    put(version, **how.get(role, {}), force=True)
    assert len(recorded_moves()) == 2


def test_the_database_refuses_half_a_canary(versions: list[ModelVersion]) -> None:
    first, second = versions[:2]
    wrong: list[dict[str, Any]] = [
        {"canary": second},
        {"canary_percent": 5.0},
        {"canary": second, "canary_percent": 0.0},
        {"canary": second, "canary_percent": 100.1},
        {"canary": first, "canary_percent": 5.0},
        {"alias": "a@b"},
        {"name": ""},
    ]
    for fields in wrong:
        with pytest.raises(IntegrityError, match="alias_"), transaction.atomic():
            Alias.objects.create(**{"name": "wine", "alias": "x", "version": first, **fields})


# -- the gate


def gate_of(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> list[Any]:
    seen: list[Any] = []

    def check(from_id: int, to_id: int, require: Any) -> None:
        seen.append((from_id, to_id, require, connections["default"].in_atomic_block))
        act()

    monkeypatch.setattr(moves, "import_string", lambda path: check)
    return seen


@pytest.mark.django_db(transaction=True)
def test_a_gate_compares_the_two_versions_outside_the_transaction(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("1")
    seen = gate_of(monkeypatch, lambda: None)

    put("2", require={"replay": 7})
    put("2", require={"replay": 8})

    assert seen == [(versions[0].pk, versions[1].pk, {"replay": 7}, False)]
    assert arms().version == versions[1]


def test_what_a_gate_refuses_is_not_promoted(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("1")

    def refuse() -> None:
        raise RuntimeError("0.97 of 0.98")

    gate_of(monkeypatch, refuse)
    with pytest.raises(RuntimeError):
        put("2", require={}, force=True)

    assert arms().version == versions[0]


@pytest.mark.parametrize("asked", ["2", "1"])
def test_what_a_gate_compared_must_still_be_there(
    versions: list[ModelVersion], monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    put("1")
    gate_of(monkeypatch, lambda: None)
    real = moves._pass_gate

    def meanwhile(*given: Any) -> int:
        compared = real(*given)
        put("3")
        return compared

    monkeypatch.setattr(moves, "_pass_gate", meanwhile)
    with pytest.raises(AliasMoved, match="moved by somebody else"):
        put(asked, require={})

    assert arms().version == versions[2]


def test_a_gate_has_nothing_to_compare_for_a_new_alias(versions: list[ModelVersion]) -> None:
    with pytest.raises(MoveRefused, match="holds no version yet"):
        put("1", require={})
