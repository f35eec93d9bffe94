"""Versions of a model named wine, and moves of its aliases."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from registry import hooks
from registry.aliases import moves
from registry.hooks import Extension
from registry.models import Alias, AliasMove, Arms, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

N_THREADS = 50
URL = "/admin/registry/alias/"
MOVES_URL = "/admin/registry/aliasmove/"
VERSIONS_URL = "/admin/registry/modelversion/"
ADD_FORM = {"model_name": "wine", "alias_name": "next", "live_version": "1", "reason": "new"}


@pytest.fixture
def versions(make_version: MakeVersion, iris_artifact: Artifact) -> list[ModelVersion]:
    """Versions 1 to 7, and no alias yet."""
    return [make_version("wine", iris_artifact, version=str(number)) for number in range(1, 8)]


def set_alias(version: str, alias: str = "champion", **options: Any) -> tuple[Alias, bool]:
    return moves.set_alias(name="wine", alias=alias, version=version, **options)


def roll_back() -> Alias:
    return moves.rollback(name="wine", alias="champion")


def arms(alias: str = "champion") -> Arms:
    return Alias.objects.find("wine", alias).arms


def recorded_moves(alias: str = "champion") -> list[AliasMove]:
    return list(AliasMove.objects.of_alias("wine", alias).order_by("number"))


@pytest.fixture
def extend_registry() -> Iterator[Callable[[Extension], None]]:
    """`hooks.register` for the length of a test."""
    before = hooks.extension()
    yield hooks.register
    hooks.register(before)


# -- the API


def put(
    api: APIClient,
    version: object = "1",
    url: str = "/api/v1/aliases/wine/champion/",
    **fields: object,
) -> Any:
    return api.put(url, {"version": version, **fields})


def summary(version: ModelVersion) -> dict[str, object]:
    return {"model_id": version.pk, "version": version.version}


# -- the admin, as a browser uses it


@pytest.fixture
def alias(versions: list[ModelVersion]) -> Alias:
    """wine@champion: version 1, with 2 as the canary and 3 as a shadow."""
    row, _ = moves.set_alias(
        name="wine", alias="champion", version="1", canary=("2", 12.5), shadows=["3"]
    )
    return row


def change(browser: Client, row: Alias, **fields: Any) -> Any:
    """Post the change form of the `alias` fixture, with some fields changed."""
    form = {"live_version": "1", "canary_version": "2", "percent": "12.5", "shadow_versions": ["3"]}
    return browser.post(f"{URL}{row.pk}/change/", {**form, **fields})


def post_rollback(browser: Client, row: Alias, **fields: Any) -> Any:
    return browser.post(f"{URL}{row.pk}/change/", {"_rollback": "1", **fields}, follow=True)
