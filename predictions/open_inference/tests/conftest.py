"""Versions that the tests of /v2 call."""

import pytest

from registry.models import Alias, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion


@pytest.fixture
def champion(iris: ModelVersion) -> Alias:
    """The champion of iris, which is version 1."""
    return Alias.objects.create(name="iris", alias="champion", version=iris)


@pytest.fixture
def second_version(make_version: MakeVersion, iris_artifact: Artifact) -> ModelVersion:
    """Version 2 of iris."""
    return make_version("iris", iris_artifact, version="2")
