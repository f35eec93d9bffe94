"""The first usable version becomes champion, and a version that an alias uses stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from registry import services
from registry.aliases import activation, moves
from registry.aliases.activation import VersionInUse
from registry.aliases.recording import Attribution
from registry.models import Alias, AliasMove, AliasShadow, Arms, ModelVersion
from registry.services import Upload
from registry.testing.artifacts import Artifact

MODELS = "/api/v1/models/"

MakeVersion = Callable[..., ModelVersion]

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path", "db")


def register(artifact: Artifact | None = None, **fields: Any) -> ModelVersion:
    upload = None if artifact is None else Upload([artifact.content])
    framework = "sklearn" if artifact is None else None
    return services.register_model(name="iris", framework=framework, upload=upload, **fields)


def set_alias(version: ModelVersion, alias: str = "champion", **options: Any) -> None:
    moves.set_alias(name="iris", alias=alias, version=version.version, **options)


def champion() -> ModelVersion | None:
    row = Alias.objects.filter(alias="champion").first()
    return None if row is None else row.version


# -- becoming champion


def test_the_first_version_registered_with_an_artifact_becomes_champion(
    iris_artifact: Artifact, user: User
) -> None:
    register(version="bare")
    register(iris_artifact, version="off", is_active=False)
    assert champion() is None

    first = register(iris_artifact, attribution=Attribution(user=user))
    register(iris_artifact)

    move = AliasMove.objects.get()
    assert champion() == first
    assert (move.number, move.action, move.to_version_id) == (1, "automatic", first.pk)
    assert (move.reason, move.user) == (activation.FIRST_VERSION_REASON, user)


def test_the_first_version_to_get_an_artifact_becomes_champion(iris_artifact: Artifact) -> None:
    bare = register(version="1")

    services.attach_artifact(model_id=bare.pk, upload=Upload([iris_artifact.content]))

    assert champion() == bare


def test_an_inactive_version_that_gets_an_artifact_does_not_become_champion(
    iris_artifact: Artifact,
) -> None:
    bare = register(version="1", is_active=False)

    services.attach_artifact(model_id=bare.pk, upload=Upload([iris_artifact.content]))

    assert champion() is None


def test_the_first_activated_version_becomes_champion(
    admin_api: APIClient, manager: User, iris_artifact: Artifact
) -> None:
    first = register(iris_artifact, is_active=False)
    admin_api.patch(f"{MODELS}{first.pk}/", {"description": "new"})
    assert champion() is None

    response = admin_api.patch(f"{MODELS}{first.pk}/", {"is_active": True})

    assert response.status_code == 200
    assert champion() == first
    assert AliasMove.objects.get().user == manager
    assert AliasMove.objects.get().request_id == response["X-Request-ID"]


def test_a_champion_that_was_removed_stays_removed(iris_artifact: Artifact) -> None:
    first = register(iris_artifact)
    moves.remove_alias(name="iris", alias="champion")

    register(iris_artifact)
    activation.update_version(model_id=first.pk, is_active=False)
    activation.update_version(model_id=first.pk, is_active=True)

    assert champion() is None


# -- deactivating


@pytest.fixture
def in_use(make_version: MakeVersion, iris_artifact: Artifact) -> list[ModelVersion]:
    versions = [make_version("iris", iris_artifact, version=str(number)) for number in (1, 2, 3, 4)]
    set_alias(versions[0], canary=("2", 10.0), shadows=["3"])
    set_alias(versions[3], alias="next", shadows=["3"])
    return versions


@pytest.mark.parametrize(
    ("number", "aliases"),
    [
        (1, "iris@champion; move it first"),
        (2, "iris@champion; move it first"),
        (3, "iris@champion, iris@next; move them first"),
    ],
)
def test_deactivating_a_version_in_use_takes_force(
    admin_api: APIClient, in_use: list[ModelVersion], number: int, aliases: str
) -> None:
    url = f"{MODELS}{in_use[number - 1].pk}/"

    response = admin_api.patch(url, {"is_active": False, "description": "x"})

    assert response.status_code == 409
    assert response.json()["type"] == "urn:mlapi:problem:version-in-use"
    assert f"is used by {aliases}, or send force" in response.json()["detail"]
    assert (admin_api.get(url).json()["is_active"], admin_api.get(url).json()["description"]) == (
        True,
        "",
    )
    response = admin_api.patch(url, {"is_active": False, "force": True})
    assert response.status_code == 200
    assert response.json()["is_active"] is False


def test_a_forced_deactivation_removes_the_version_and_is_recorded(
    in_use: list[ModelVersion],
) -> None:
    activation.update_version(model_id=in_use[2].pk, is_active=False, force=True)
    activation.update_version(model_id=in_use[1].pk, is_active=False, force=True)

    assert Alias.objects.find("iris", "champion").arms == Arms(in_use[0])
    assert not AliasShadow.objects.exists()
    recorded = AliasMove.objects.of_alias("iris", "champion").order_by("number")
    assert [(move.action, move.canary_id, len(move.shadows)) for move in recorded] == [
        ("set", in_use[1].pk, 1),
        ("withdrawn", in_use[1].pk, 0),
        ("withdrawn", None, 0),
    ]


def test_an_alias_keeps_its_deactivated_version_but_does_not_answer(
    in_use: list[ModelVersion],
) -> None:
    activation.update_version(model_id=in_use[0].pk, is_active=False, force=True)

    assert Alias.objects.route("iris").version_id == in_use[0].pk
    with pytest.raises(LookupError, match="Model iris not found or inactive"):
        ModelVersion.objects.resolve_specifier("iris")
    assert AliasMove.objects.of_alias("iris", "champion").count() == 1
    set_alias(in_use[1])
    assert ModelVersion.objects.resolve_specifier("iris") == in_use[1]


def test_deactivating_an_inactive_version_does_not_take_force(in_use: list[ModelVersion]) -> None:
    activation.update_version(model_id=in_use[0].pk, is_active=False, force=True)

    activation.update_version(model_id=in_use[0].pk, is_active=False)


def test_force_alone_changes_nothing(admin_api: APIClient, in_use: list[ModelVersion]) -> None:
    assert admin_api.patch(f"{MODELS}{in_use[0].pk}/", {"force": True}).json()["is_active"] is True


# -- deleting


@pytest.mark.django_db(transaction=True)
def test_a_new_version_is_deleted_with_its_automatic_champion(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    first = register(iris_artifact)

    assert admin_api.delete(f"{MODELS}{first.pk}/").status_code == 204

    assert not Alias.objects.exists()
    assert [move.action for move in AliasMove.objects.order_by("number")] == [
        "automatic",
        "deleted",
    ]
    assert [path for path in model_path.rglob("*") if path.is_file()] == []
    second = register(iris_artifact)
    assert champion() == second
    assert AliasMove.objects.latest("id").number == 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_version_in_use_is_not_deleted(
    admin_api: APIClient, in_use: list[ModelVersion], number: int
) -> None:
    response = admin_api.delete(f"{MODELS}{in_use[number - 1].pk}/")

    assert response.status_code == 409
    assert "is used by iris@champion" in response.json()["detail"]
    assert ModelVersion.objects.count() == 4


def test_a_champion_is_not_deleted_while_its_name_has_other_versions(
    iris_artifact: Artifact,
) -> None:
    first = register(iris_artifact)
    register(iris_artifact)

    with pytest.raises(VersionInUse, match="iris@champion; move or remove it first"):
        services.delete_version(model_id=first.pk)


def test_a_champion_that_was_chosen_is_not_deleted(iris_artifact: Artifact) -> None:
    first, second = register(iris_artifact), register(iris_artifact)
    set_alias(second)
    services.delete_version(model_id=first.pk)

    with pytest.raises(VersionInUse):
        services.delete_version(model_id=second.pk)


def test_a_version_that_only_the_history_mentions_is_deleted(in_use: list[ModelVersion]) -> None:
    set_alias(in_use[1], shadows=[])
    set_alias(in_use[3], alias="next", shadows=[])

    services.delete_version(model_id=in_use[2].pk)
    services.delete_version(model_id=in_use[0].pk)

    first = AliasMove.objects.of_alias("iris", "champion").get(number=1)
    assert (first.to_version, first.shadows[0]["version"]) == ("1", "3")
