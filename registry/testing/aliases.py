"""Fixtures of the tests of aliases: versions of the model wine, and moves of its aliases."""

from typing import Any

import pytest

from registry.aliases import moves
from registry.models import Alias, AliasMove, Arms, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

N_THREADS = 50


@pytest.fixture
def versions(make_version: MakeVersion, iris_artifact: Artifact) -> list[ModelVersion]:
    """Five versions of wine, without an alias."""
    return [make_version("wine", iris_artifact, version=str(number)) for number in range(1, 6)]


def put(version: str, alias: str = "champion", **options: Any) -> tuple[Alias, bool]:
    return moves.set_alias(name="wine", alias=alias, version=version, **options)


def back() -> Alias:
    return moves.rollback(name="wine", alias="champion")


def arms(alias: str = "champion") -> Arms:
    return Alias.objects.find("wine", alias).arms


def recorded_moves(alias: str = "champion") -> list[AliasMove]:
    return list(AliasMove.objects.of("wine", alias).order_by("number"))
