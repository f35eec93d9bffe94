"""Versions that the tests of /v2 call, and their caller, who may read everybody's predictions."""

import pytest
from django.contrib.auth.models import User

from registry.models import Alias, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import permit
from registry.testing.versions import MakeVersion


@pytest.fixture
def user(user: User) -> User:
    return permit(user, "view_prediction")


@pytest.fixture
def champion(iris: ModelVersion) -> Alias:
    """The champion of iris, which is version 1."""
    return Alias.objects.create(name="iris", alias="champion", version=iris)


@pytest.fixture
def second_version(make_version: MakeVersion, iris_artifact: Artifact) -> ModelVersion:
    """Version 2 of iris."""
    return make_version("iris", iris_artifact, version="2")
