"""Versions of a model named wine, and moves of its aliases."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from registry import hooks
from registry.aliases import moves
from registry.hooks import Extension
from registry.models import Alias, AliasMove, Arms, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

N_THREADS = 50


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
