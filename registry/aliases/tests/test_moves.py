"""Setting an alias: what changes, what stays, and what is refused."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from registry.aliases.recording import Attribution
from registry.aliases.validation import MoveRefused
from registry.models import Alias, Arms, ModelNotFound, ModelVersion
from registry.testing.aliases import arms, recorded_moves, set_alias
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

# -- setting


def test_an_alias_is_created_and_moved_and_the_moves_are_recorded(
    versions: list[ModelVersion], user: User
) -> None:
    _, is_new = set_alias("1", attribution=Attribution("first", user, "r-1"))
    _, is_new_again = set_alias("2", attribution=Attribution("better"))

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


def test_a_move_that_changes_nothing_is_not_recorded(versions: list[ModelVersion]) -> None:
    set_alias("1", canary=("2", 10.0), shadows=["3", "4"])

    _, is_new = set_alias("1", canary=("2", 10.0), shadows=["4", "3"])
    set_alias("1")

    assert not is_new
    assert len(recorded_moves()) == 1


def test_canary_and_shadows_stay_unless_they_are_passed(versions: list[ModelVersion]) -> None:
    set_alias("1", canary=("2", 10.0), shadows=["3"])

    set_alias("4")

    assert arms() == Arms(versions[3], versions[1], 10.0, (versions[2],))
    set_alias("4", canary=None, shadows=[])
    assert arms() == Arms(versions[3])
    assert [move.action for move in recorded_moves()] == ["set", "set", "configured"]


def test_a_promoted_version_stops_being_canary_or_shadow(versions: list[ModelVersion]) -> None:
    set_alias("1", canary=("2", 10.0), shadows=["3", "4"])

    set_alias("2")
    assert arms() == Arms(versions[1], shadows=(versions[2], versions[3]))
    set_alias("3")
    assert arms() == Arms(versions[2], shadows=(versions[3],))


def test_the_salt_never_changes(versions: list[ModelVersion]) -> None:
    set_alias("1", canary=("2", 10.0))
    salt = Alias.objects.get().salt

    set_alias("3", canary=("4", 50.0))

    assert Alias.objects.get().salt == salt
    set_alias("1", alias="other")
    assert Alias.objects.get(alias="other").salt != salt


def test_a_route_takes_one_query(versions: list[ModelVersion], raw_statements: list[str]) -> None:
    set_alias("1", canary=("2", 12.5), shadows=["5", "3"])
    set_alias("1", alias="plain")
    salt = Alias.objects.get(alias="champion").salt

    route = Alias.objects.route("wine")

    assert len(raw_statements) == 1
    first, second, third, _, fifth, *_ = (version.pk for version in versions)
    assert (route.name, route.alias, route.version_id) == ("wine", "champion", first)
    assert (route.canary_id, route.canary_percent, route.salt) == (second, 12.5, salt)
    assert route.shadow_ids == (third, fifth)
    assert Alias.objects.route("wine", "plain").shadow_ids == ()
    assert Alias.objects.route("wine", "plain").canary_id is None


def test_an_unknown_alias_has_no_route(versions: list[ModelVersion]) -> None:
    with pytest.raises(ModelNotFound, match="Model wine@x not found: no such alias"):
        Alias.objects.route("wine", "x")


def test_looking_up_an_active_id_takes_one_query(
    versions: list[ModelVersion], raw_statements: list[str]
) -> None:
    assert ModelVersion.objects.active_id("wine", "2") == versions[1].pk
    assert len(raw_statements) == 1
    versions[1].update(is_active=False)
    for version in ("2", "9"):
        with pytest.raises(ModelNotFound, match=f"Model wine:{version} not found or inactive"):
            ModelVersion.objects.active_id("wine", version)


# -- refusals


@pytest.mark.parametrize("role", ["version", "canary", "shadow"])
@pytest.mark.parametrize(
    ("defect", "message"), [("inactive", "is inactive"), ("bare", "has no artifact")]
)
def test_an_unusable_version_is_refused_in_every_role(
    versions: list[ModelVersion], make_version: MakeVersion, role: str, defect: str, message: str
) -> None:
    versions[4].update(is_active=False)
    make_version("wine", version="bare")
    unusable = {"inactive": "5", "bare": "bare"}[defect]
    set_alias("1")
    options: dict[str, Any] = {
        "canary": {"canary": (unusable, 5.0)},
        "shadow": {"shadows": [unusable]},
    }

    with pytest.raises(MoveRefused, match=message):
        set_alias(unusable if role == "version" else "2", **options.get(role, {}), force=True)

    assert arms() == Arms(versions[0])
    assert len(recorded_moves()) == 1


def test_an_unknown_version_is_named_and_no_alias_is_created(versions: list[ModelVersion]) -> None:
    with pytest.raises(ModelNotFound, match="Model wine:9 not found"):
        set_alias("9")
    with pytest.raises(ModelNotFound, match="Model wine:8 not found"):
        set_alias("1", canary=("8", 1.0))

    assert not Alias.objects.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"canary": ("1", 5.0)}, "its own canary"), ({"shadows": ["1"]}, "its own shadow")],
)
def test_a_version_is_not_its_own_canary_or_shadow(
    versions: list[ModelVersion], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MoveRefused, match=message):
        set_alias("1", **options)


def test_the_number_of_shadows_is_limited(
    versions: list[ModelVersion], make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("wine", iris_artifact, version="8")

    with pytest.raises(MoveRefused, match="limit is 5 shadows per alias, not 6"):
        set_alias("1", shadows=list("345678"))


@pytest.mark.parametrize("role", ["version", "canary", "shadow"])
def test_an_incompatible_version_needs_force(
    versions: list[ModelVersion],
    make_version: MakeVersion,
    diabetes_artifact: Artifact,
    role: str,
) -> None:
    make_version("wine", diabetes_artifact, version="other")
    set_alias("1")
    options: dict[str, Any] = {
        "canary": {"canary": ("other", 5.0)},
        "shadow": {"shadows": ["other"]},
    }
    version = "other" if role == "version" else "1"

    with pytest.raises(MoveRefused, match=r"wine:other cannot serve the callers of wine:1: it"):
        set_alias(version, **options.get(role, {}))

    assert arms() == Arms(versions[0])
    set_alias(version, **options.get(role, {}), force=True)
    assert len(recorded_moves()) == 2


def test_the_database_refuses_inconsistent_aliases(versions: list[ModelVersion]) -> None:
    first, second = versions[:2]
    inconsistent: list[dict[str, Any]] = [
        {"canary": second},
        {"canary_percent": 5.0},
        {"canary": second, "canary_percent": 0.0},
        {"canary": second, "canary_percent": 100.1},
        {"canary": first, "canary_percent": 5.0},
        {"alias": "a@b"},
        {"name": ""},
    ]
    for fields in inconsistent:
        with pytest.raises(IntegrityError, match="alias_"), transaction.atomic():
            Alias.objects.create(**{"name": "wine", "alias": "x", "version": first, **fields})
