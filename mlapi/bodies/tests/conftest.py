"""The model and the client of the requests."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from mlapi.bodies.tests.calls import CSV
from registry.models import Alias, ModelVersion
from registry.testing.clients import api_client


@pytest.fixture
def model(iris: ModelVersion) -> ModelVersion:
    iris.signature["inputs"][0]["features"] = CSV.decode().partition("\n")[0].split(",")
    iris.save()
    Alias.objects.create(name="iris", alias="champion", version=iris)
    return iris


@pytest.fixture
def client(user: User) -> APIClient:
    return api_client(user)
