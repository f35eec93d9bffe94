"""The first command of the README, without starting the server."""

from io import StringIO

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import call_command
from django.test import RequestFactory

from predictions.models import Prediction
from registry.models import ModelVersion


# `.ci/run` starts services on SQLite with it.
@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.usefixtures("cached_proofs", "model_path")
def test_quickstart_sets_up_once_and_is_safe_to_run_again(db: None) -> None:
    first, second = StringIO(), StringIO()

    call_command("quickstart", "--no-serve", "--port=8123", stdout=first)
    versions = list(ModelVersion.objects.order_by("name"))
    call_command("quickstart", "--no-serve", stdout=second)

    assert [str(version) for version in versions] == ["diabetes:1", "wine:1"]
    assert all(version.has_artifact and version.metrics for version in versions)
    assert list(ModelVersion.objects.order_by("name")) == versions
    assert Prediction.objects.filter(status="succeeded").count() == 4
    assert get_user_model().objects.count() == 1
    output = first.getvalue()
    password = output.split("password: ")[1].split()[0]
    request = RequestFactory().post("/")
    assert authenticate(request, username="admin", password=password) is not None
    assert f'"password": "{password}"' in output
    assert "http://127.0.0.1:8123/api/v1/predictions/" in output
    assert f'"model_id": {versions[1].pk}' in output
    assert password not in second.getvalue()
    assert "wine:1 is already registered" in second.getvalue()
