"""A token that was revoked learns nothing of a model from errors, whatever verifies it."""

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from mlapi import wsgi
from mlapi.tests.fast_lane.comparison import Application, django_alone
from mlapi.tests.fast_lane.requests import FEATURES, ROW, ClientRequest
from predictions.models import Prediction
from predictions.serving import guards

TENSOR = {"name": "features", "shape": [1, 3], "datatype": "FP64", "data": FEATURES[:3]}
BATCH = "/api/v1/predictions/batch/"
# Requests that are refused: by path, with the document to send (None for a GET), and the status.
REFUSED: dict[str, tuple[str, object, int]] = {
    "input": ("/api/v1/predictions/", {"model": "iris", "input_data": {"sepal": 1}}, 400),
    "body": ("/api/v1/predictions/", {"model": "iris"}, 400),
    "unknown": ("/api/v1/predictions/", {"model": "none", "input_data": ROW}, 404),
    "inactive": ("/api/v1/predictions/", {"model": "retired:1", "input_data": ROW}, 404),
    "no file": ("/api/v1/predictions/", {"model": "empty:1", "input_data": ROW}, 409),
    "batch": (BATCH, {"model": "iris", "inputs": [{"features": [1]}]}, 400),
    "batch of none": (BATCH, {"model": "none", "inputs": [ROW]}, 404),
    "invocations": ("/api/v1/models/{iris}/invocations", {"instances": [[1]]}, 400),
    "v1": ("/v1/models/iris:predict", {"instances": [[1]]}, 400),
    "v1 of none": ("/v1/models/none:predict", {"instances": [FEATURES]}, 404),
    "v1 model": ("/v1/models/none", None, 404),
    "v2": ("/v2/models/iris/infer", {"inputs": [TENSOR]}, 400),
    "v2 of none": ("/v2/models/none/infer", {"inputs": [TENSOR]}, 404),
    "v2 without a file": ("/v2/models/empty/versions/1/infer", {"inputs": [TENSOR]}, 409),
    "v2 metadata": ("/v2/models/none", None, 404),
    "v2 metadata of an empty one": ("/v2/models/empty/versions/1", None, 409),
}


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(user: User) -> None:
    user.set_password("another")
    user.save()


def delete(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def ask(
    application: Application, path: str, document: object, authorization: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    method = "GET" if document is None else "POST"
    body = b"" if document is None else json.dumps(document).encode()
    request = ClientRequest(body, path, authorization, method=method)
    started: list[tuple[str, list[tuple[str, str]]]] = []
    content = b"".join(
        application(request.environ(), lambda status, headers: started.append((status, headers)))
    )
    [(status, headers)] = started
    return int(status[:3]), dict(headers), content


@pytest.mark.parametrize("application", [wsgi.application, django_alone], ids=["fast", "django"])
@pytest.mark.parametrize("revoke", [deactivate, change_password, delete])
def test_errors_are_for_valid_tokens_only(
    models: dict[str, int],
    authorization: dict[str, str],
    user: User,
    application: Application,
    revoke: Callable[[User], None],
) -> None:
    requests = {
        name: (path.format(**models), document, status)
        for name, (path, document, status) in REFUSED.items()
    }
    for path, document, status in requests.values():
        assert ask(application, path, document, authorization)[0] == status

    revoke(user)

    for path, document, _ in requests.values():
        status, headers, content = ask(application, path, document, authorization)
        assert status == 401, path
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert not any(word in content for word in (b"feature", b"sepal", b"iris", b"none")), path
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("application", [wsgi.application, django_alone], ids=["fast", "django"])
def test_errors_are_withheld_if_the_user_cannot_be_looked_up(
    models: dict[str, int],
    authorization: dict[str, str],
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> bool:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(guards, "check", fail)
    path, document, _ = REFUSED["input"]

    status, headers, content = ask(application, path, document, authorization)

    assert status == 503
    assert headers["Retry-After"]
    assert b"feature" not in content
