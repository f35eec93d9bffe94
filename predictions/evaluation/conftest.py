"""The callers of these tests may read everybody's predictions."""

import pytest
from django.contrib.auth.models import User

from registry.testing.clients import permit


@pytest.fixture
def user(user: User) -> User:
    return permit(user, "view_prediction")
