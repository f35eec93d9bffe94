"""Every role, on every operation of the API, with their own, another's and a private model's rows.

The operations come from the routes: a new one that has no expectation fails the first test.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from mlapi.tests.roles.operations import HIDDEN, OPERATIONS, OWN, TARGETS, Operation, public
from mlapi.tests.roles.people import ROLES, People, Role
from predictions.evaluation.references import services
from predictions.evaluation.references.building import ComparedVersion
from predictions.evaluation.references.services import Source
from predictions.evaluation.references.tables import Rows
from predictions.models import Alert, Job, MonitorReport, Outcome, Prediction, Reference, Replay
from predictions.retention import holds
from predictions.testing.monitors import make_alert, make_report
from registry.access.keys.changes import create_key
from registry.aliases import moves
from registry.models import AliasRequest, Grant, ModelVersion, RegisteredModel, Webhook
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion
from registry.webhooks import changes as webhook_changes

FORBIDDEN = (401, 403, 404)
Fields = Mapping[str, Any]


def test_every_operation_has_an_expectation() -> None:
    paths = SchemaGenerator().get_schema(  # type: ignore[no-untyped-call]
        request=None, public=True
    )["paths"]
    documented = {(method, shape(path)) for path in paths for method in paths[path]}

    assert {(method, shape(path)) for method, path in OPERATIONS} == documented


def shape(path: str) -> str:
    """A path without the names of its parameters, and with the values that these tests give."""
    path = re.sub(r"/aliases/([^/]+)/[^/]+/", r"/aliases/\1/{}/", path)
    return re.sub(r"\{\w+\}", "{}", path.replace("/versions/1/", "/versions/{}/"))


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("eve")


@pytest.fixture
def versions(
    make_version: MakeVersion, iris_artifact: Artifact, other: User
) -> dict[str, ModelVersion]:
    rows = {name: make_version(name, iris_artifact) for name in ("shown", HIDDEN)}
    RegisteredModel.objects.filter(name=HIDDEN).update(is_private=True)
    for name in rows:
        moves.set_alias(name=name, alias="champion", version="1")
    return rows


@pytest.fixture
def targets(user: User, other: User, versions: dict[str, ModelVersion]) -> dict[str, Fields]:
    """For each target, what to fill in the paths and bodies of the operations."""
    webhook = Webhook.objects.create(name="other", url="https://hooks.example.com/")
    delivery = webhook_changes.send_test(webhook)
    hold = holds.place(subject="somebody", reason="a case")
    return {
        target: {
            **make_target(versions[HIDDEN if target == HIDDEN else "shown"], author, other),
            "webhook": webhook.pk,
            "delivery": delivery.pk,
            "hold": hold.pk,
        }
        for target, author in ((OWN, user), ("other", other), (HIDDEN, other))
    }


def make_target(version: ModelVersion, author: User, other: User) -> Fields:
    prediction = Prediction.objects.create(model=version, input_data={}, user=author, prediction=0)
    Outcome.objects.create(prediction=prediction, label=1)
    model = RegisteredModel.objects.get(name=version.name)
    grant, _ = Grant.objects.get_or_create(
        registered_model=model, user=other, defaults={"manage_versions": True}
    )
    request = AliasRequest.objects.create(
        kind="set",
        name=version.name,
        alias="champion",
        move={"version": "1"},
        based_on=1,
        requested_by=other,
    )
    replay = Replay.objects.create(from_version=version, to_version=version)
    job = Job.objects.create(kind="replay", model_name=version.name, created_by=author)
    if not Reference.objects.filter(model=version).exists():
        set_small_reference(version)
    key, _ = create_key(name="key", owner=author, scopes=[])
    alert = Alert.objects.filter(model=version).first() or make_alert(version)
    report = MonitorReport.objects.filter(model=version).first() or make_report(alert)
    return {
        "name": version.name,
        "key": key.pk,
        "version": version.pk,
        "prediction": prediction.pk,
        "request": request.pk,
        "grant": grant.pk,
        "replay": replay.pk,
        "job": job.pk,
        "monitor": alert.monitor_id,
        "alert": alert.pk,
        "report": report.pk,
    }


def set_small_reference(version: ModelVersion) -> None:
    rows = Rows(
        inputs=[{"features": [1, 2, 3, 4]}],
        predictions=[0.0],
        confidences=[1.0],
        outputs=None,
        failed=[False],
    )
    services.set_reference(ComparedVersion(version), rows, None, source=Source(), background=[])


# Committed rows: a transaction that stays open as long as this would hold up the followers of the
# log that other tests run at the same time.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ROLES)
def test_role(role: str, user: User, targets: dict[str, Fields]) -> None:
    models = {model.name: model for model in RegisteredModel.objects.all()}
    people = People(models["shown"], models[HIDDEN], user)
    client = ROLES[role].make(people)
    wrong = []
    for (method, path), operation in OPERATIONS.items():
        for target in TARGETS:
            expected = expected_status(ROLES[role], operation, target)
            got = outcome_of(client, method, path, operation, targets[target])
            if got != expected:
                wrong.append(f"{method} {path} on {target}: {got}, not {expected}")

    assert not wrong, "\n" + "\n".join(wrong)


def test_the_number_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    cells = len(ROLES) * len(OPERATIONS) * len(TARGETS)

    with capsys.disabled():
        sys.stdout.write(f"\n{len(ROLES)} roles, {cells} cells\n")
    assert cells > 3000


def expected_status(role: Role, operation: Operation, target: str) -> int:
    if not role.is_signed_in and operation.rule is not public:
        return 401
    return operation.rule(role, target)


def outcome_of(
    client: APIClient, method: str, path: str, operation: Operation, fields: Fields
) -> int:
    """401, 403, 404, or 200 for everything that is allowed; 404 for a row that is not in a list."""
    with undone():
        response: Any = client.generic(
            method.upper(),
            path.format(**fields),
            **encode(operation, fields),
            QUERY_STRING="&".join(f"{name}={value}" for name, value in operation.query.items()),
        )
        assert response.status_code < 500, (method, path, response)
        body = response.getvalue() if response.streaming else response.content
        rows = (
            rows_of(body, response.streaming)
            if operation.member and response.status_code == 200
            else None
        )
    if response.status_code in FORBIDDEN and operation.rule is not public:
        return int(response.status_code)
    if operation.member is not None:
        return 200 if is_listed(rows, operation.member, fields) else 404
    return 200


def encode(operation: Operation, fields: Fields) -> dict[str, Any]:
    if operation.body is None:
        return {}
    text = json.dumps(operation.body)
    for name, value in fields.items():
        text = text.replace(f'"{{{name}}}"', json.dumps(value))
    return {"data": text, "content_type": "application/json"}


def rows_of(body: bytes, is_ndjson: bool) -> Any:
    return [json.loads(line) for line in body.splitlines()] if is_ndjson else json.loads(body)


def is_listed(document: Any, member: tuple[str, str], fields: Fields) -> bool:
    name, key = member
    if isinstance(document, dict):
        return fields[key] in document["models"]
    return any(row[name] == fields[key] for row in document)


@contextmanager
def undone() -> Iterator[None]:
    """Whatever the request writes is rolled back, so that the next finds the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
