"""API keys and rights on prediction requests: the same on every face, and from the next request."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from mlapi import fast_lane, wsgi
from mlapi.tests.fast_lane.comparison import Application, differences
from mlapi.tests.fast_lane.faces import BOTH_WAYS, EVERY_FACE, ask, bearer
from mlapi.tests.fast_lane.requests import ROW, ClientRequest, as_json
from predictions.authentication.api_keys import REMEMBERED
from predictions.models import Prediction
from registry.access.keys import changes
from registry.database import statements
from registry.models import ApiKey, Grant, ModelVersion, RegisteredModel, Right
from registry.testing.clients import MakeKey


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    REMEMBERED.clear()


def hide(model: str = "iris") -> None:
    RegisteredModel.objects.filter(name=model).update(is_private=True)


@BOTH_WAYS
@EVERY_FACE
def test_a_key_is_accepted_and_recorded_on_every_face(
    models: dict[str, int], user: User, make_key: MakeKey, application: Application, face: str
) -> None:
    key, value = make_key(user, Right.PREDICT)

    status, body = ask(application, models, face, bearer(value))

    assert status in (200, 201), body
    rows = Prediction.objects.all()
    assert {(row.api_key_id, row.user_id) for row in rows} == {(key.pk, user.pk)}


def revoke(key: ApiKey) -> None:
    changes.revoke_key(key_id=key.pk)


def expire(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def deactivate_owner(key: ApiKey) -> None:
    User.objects.filter(pk=key.owner_id).update(is_active=False)


@BOTH_WAYS
@EVERY_FACE
@pytest.mark.parametrize("end", [revoke, expire, deactivate_owner])
def test_a_key_that_has_ended_is_refused_from_the_next_request(
    models: dict[str, int],
    user: User,
    make_key: MakeKey,
    application: Application,
    face: str,
    end: Callable[[ApiKey], None],
) -> None:
    key, value = make_key(user)
    assert ask(application, models, "id", bearer(value))[0] == 201

    end(key)

    for fits in (True, False):
        status, body = ask(application, models, face, bearer(value), fits=fits)
        assert status == 401, body
        assert b"feature" not in body
    assert Prediction.objects.count() == 1


@BOTH_WAYS
@EVERY_FACE
def test_a_key_without_the_scope_is_403(
    models: dict[str, int], user: User, make_key: MakeKey, application: Application, face: str
) -> None:
    _, value = make_key(user, Right.READ_LOG, Right.MANAGE_VERSIONS)

    for fits in (True, False):
        status, body = ask(application, models, face, bearer(value), fits=fits)
        assert status == 403, body
        assert b"feature" not in body
    assert not Prediction.objects.exists()


@BOTH_WAYS
@EVERY_FACE
def test_a_key_for_another_model_gets_what_an_absent_model_gives(
    models: dict[str, int], user: User, make_key: MakeKey, application: Application, face: str
) -> None:
    other = RegisteredModel.objects.get(name="diabetes")
    _, value = make_key(user, models=[other])

    require_absent(application, models, face, bearer(value))


@BOTH_WAYS
@EVERY_FACE
def test_a_private_model_does_not_exist_for_a_token_without_right(
    models: dict[str, int],
    authorization: dict[str, str],
    application: Application,
    face: str,
) -> None:
    hide()

    require_absent(application, models, face, authorization)


@BOTH_WAYS
@EVERY_FACE
def test_a_private_model_whose_version_is_inactive_does_not_exist_either(
    models: dict[str, int],
    authorization: dict[str, str],
    application: Application,
    face: str,
) -> None:
    hide()
    ModelVersion.objects.update(is_active=False)

    require_absent(application, models, face, authorization)


def require_absent(
    application: Application, models: dict[str, int], face: str, authorization: dict[str, str]
) -> None:
    """Neither the response nor the log tells a model from one that does not exist."""
    absent = {**models, "iris": models["unknown"]}
    expected = ask(application, absent, face, authorization, name="nnnn")
    for fits in (True, False):
        status, body = ask(application, models, face, authorization, fits=fits)
        assert status == expected[0] == 404
        renamed = expected[1].replace(b"nnnn", b"iris")
        assert without_ids(body) == without_ids(
            renamed.replace(str(models["unknown"]).encode(), str(models["iris"]).encode())
        )
    assert not Prediction.objects.exists()


def without_ids(body: bytes) -> Any:
    document = json.loads(body)
    document.pop("request_id", None)
    return document


def own(user: User) -> None:
    RegisteredModel.objects.update(owner=user)


def grant(user: User) -> None:
    for model in RegisteredModel.objects.all():
        Grant.objects.create(registered_model=model, user=user, predict=True)


def grant_to_group(user: User) -> None:
    group = Group.objects.create(name="risk")
    user.groups.add(group)
    for model in RegisteredModel.objects.all():
        Grant.objects.create(registered_model=model, group=group, predict=True)


def make_superuser(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_superuser=True)


def permit(user: User) -> None:
    user.user_permissions.add(Permission.objects.get(codename="add_prediction"))


def permit_group(user: User) -> None:
    group = Group.objects.create(name="risk")
    group.permissions.add(Permission.objects.get(codename="add_prediction"))
    user.groups.add(group)


@pytest.mark.parametrize("give", [own, grant, grant_to_group, make_superuser, permit, permit_group])
@pytest.mark.parametrize("face", ["id", "alias", "batch", "ndjson", "v2"])
def test_every_kind_of_right_opens_a_private_model(
    models: dict[str, int],
    user: User,
    authorization: dict[str, str],
    make_key: MakeKey,
    face: str,
    give: Callable[[User], None],
) -> None:
    hide()
    _, value = make_key(user, Right.PREDICT)
    for credential in (authorization, bearer(value)):
        assert ask(wsgi.application, models, face, credential)[0] == 404

    give(user)

    for credential in (authorization, bearer(value)):
        status, body = ask(wsgi.application, models, face, credential)
        assert status in (200, 201), body


@BOTH_WAYS
@EVERY_FACE
def test_without_the_default_right_a_model_that_is_not_private_is_403(
    models: dict[str, int],
    authorization: dict[str, str],
    application: Application,
    face: str,
    settings: Any,
) -> None:
    settings.DEFAULT_RIGHTS = frozenset({Right.REPORT_OUTCOMES})

    for fits in (True, False):
        status, body = ask(application, models, face, authorization, fits=fits)
        assert status == 403, body
        assert b"feature" not in body


def test_requests_with_keys_get_equal_responses_both_ways(
    models: dict[str, int], iris: ModelVersion, user: User, make_key: MakeKey
) -> None:
    _, good = make_key(user)
    key, revoked = make_key(user)
    changes.revoke_key(key_id=key.pk)
    _, narrow = make_key(user, Right.READ_LOG)
    wrong = ["mlapi_", "mlapi_x", good[:-1], good + "x", good.upper(), f"{good[:-4]}AAAA"]
    bodies = as_json(
        {"model": "iris", "input_data": ROW},
        {"model_id": iris.pk, "input_data": ROW},
        {"model": "iris", "input_data": {"sepal": 1}},
        {"model": "none", "input_data": ROW},
        {"model": "iris", "input_data": ROW, "metadata": {"a": 1}},
    )

    assert (
        differences(
            [
                ClientRequest(body, headers=bearer(value))
                for body in bodies
                for value in (good, revoked, narrow, *wrong)
            ]
        )
        == []
    )


def test_a_plain_request_with_a_key_takes_the_fast_lane_and_one_statement(
    models: dict[str, int],
    iris: ModelVersion,
    user: User,
    make_key: MakeKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, value = make_key(user)
    [body] = as_json({"model_id": iris.pk, "input_data": ROW})
    requests = [ClientRequest(body, headers=bearer(value)) for _ in range(2)]
    assert fast_lane.respond(requests[0].environ()) is not None
    recorded: list[str] = []
    fetch = statements.fetch

    def recording_fetch(statement: str, parameters: Any) -> list[statements.Row]:
        recorded.append(statement)
        return fetch(statement, parameters)

    monkeypatch.setattr(statements, "fetch", recording_fetch)
    response = fast_lane.respond(requests[1].environ())

    assert response is not None
    assert response.status == "201 Created"
    assert len(recorded) == 1
