"""What the tests of aliases share: versions of wine, and moves of its aliases."""

from collections.abc import Callable
from typing import Any

import pytest

from registry.aliases import moves
from registry.models import Alias, AliasMove, Arms, ModelVersion
from registry.testing.fixtures import Artifact

N_THREADS = 50

MakeVersion = Callable[..., ModelVersion]


@pytest.fixture
def versions(make_version: MakeVersion, iris_artifact: Artifact) -> list[ModelVersion]:
    """Five versions of wine, and no alias yet."""
    return [make_version("wine", iris_artifact, version=str(number)) for number in range(1, 6)]


def put(version: str, alias: str = "champion", **how: Any) -> tuple[Alias, bool]:
    return moves.set_alias(name="wine", alias=alias, version=version, **how)


def back() -> Alias:
    return moves.rollback(name="wine", alias="champion")


def arms(alias: str = "champion") -> Arms:
    return Alias.objects.find("wine", alias).arms


def recorded_moves(alias: str = "champion") -> list[AliasMove]:
    return list(AliasMove.objects.of("wine", alias).order_by("number"))
