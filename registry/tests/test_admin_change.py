"""Changing versions in the admin: files attached later, notes, activation, permissions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import form_errors
from registry.testing.folders import files_below

URL = "/admin/registry/modelversion/"
EMPTY = {
    "framework": "",
    "description": "",
    "metrics": "null",
    "tags": "{}",
    "is_active": "on",
    "declared_signature": "",
    "example": "",
}
CHANGED = {key: EMPTY[key] for key in ("description", "metrics", "tags", "is_active")}

MakeVersion = Callable[..., ModelVersion]

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path")


@pytest.mark.parametrize(
    ("limits", "is_valid"),
    [
        ({"max_concurrency": "4", "timeout_seconds": "2.5"}, True),
        ({"max_concurrency": "0", "timeout_seconds": "2.5"}, False),
        ({"max_concurrency": "", "timeout_seconds": "-1"}, False),
    ],
)
def test_limits_are_checked_as_by_the_api(
    admin_client: Client, make_version: MakeVersion, limits: dict[str, str], is_valid: bool
) -> None:
    version = make_version("no-file")

    response = admin_client.post(f"{URL}{version.pk}/change/", {**CHANGED, **limits})

    version.refresh_from_db()
    assert response.status_code == (302 if is_valid else 200)
    assert (version.max_concurrency, version.timeout_seconds) == (
        (4, 2.5) if is_valid else (None, None)
    )


def add(browser: Client, **fields: Any) -> Any:
    return browser.post(f"{URL}add/", {**EMPTY, "name": "iris", "version": "1", **fields})


def test_a_file_can_be_attached_later(
    admin_client: Client, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    without_file = make_version("no-file")

    response = admin_client.post(
        f"{URL}{without_file.pk}/change/",
        {**EMPTY, "description": "now with a file", "model_file": iris_artifact.upload()},
    )

    without_file.refresh_from_db()
    assert response.status_code == 302
    assert without_file.sha256 == iris_artifact.sha256
    assert without_file.description == "now with a file"


def test_a_rejected_file_is_reported_at_its_field(
    admin_client: Client, make_version: MakeVersion, model_path: Path
) -> None:
    without_file = make_version("no-file")

    response = admin_client.post(
        f"{URL}{without_file.pk}/change/",
        {**EMPTY, "description": "x", "model_file": SimpleUploadedFile("a", b"?")},
    )

    without_file.refresh_from_db()
    assert list(form_errors(response)) == ["model_file"]
    assert (without_file.has_artifact, without_file.description) == (False, "")
    assert files_below(model_path) == []


def test_only_the_notes_of_a_version_can_be_changed(
    admin_client: Client, iris: ModelVersion
) -> None:
    response = admin_client.post(
        f"{URL}{iris.pk}/change/",
        {
            **CHANGED,
            "description": "new",
            "metrics": '{"r2": -0.0}',
            "name": "wine",
            "framework": "onnx",
            "artifact": "x",
        },
    )

    changed = ModelVersion.objects.get()
    assert response.status_code == 302
    assert (changed.description, str(changed.metrics)) == ("new", "{'r2': -0.0}")
    assert (changed.name, changed.framework, changed.artifact) == (
        "iris",
        "sklearn",
        iris.artifact,
    )


def test_saving_an_unchanged_form_writes_nothing(
    admin_client: Client, iris: ModelVersion, django_capture_on_commit_callbacks: Any
) -> None:
    ModelVersion.objects.update(metrics={"x": 1e20}, tags={"a": "é"})
    page = admin_client.get(f"{URL}{iris.pk}/change/")
    form = page.context["adminform"].form
    fields = {name: form[name].value() for name in CHANGED}

    admin_client.post(f"{URL}{iris.pk}/change/", fields)

    iris.refresh_from_db()
    assert (iris.metrics, iris.tags) == ({"x": 1e20}, {"a": "é"})


@pytest.mark.parametrize(("action", "expected"), [("activate", True), ("deactivate", False)])
def test_selected_versions_can_be_activated_and_deactivated(
    admin_client: Client, make_version: MakeVersion, action: str, expected: bool
) -> None:
    selected = [
        make_version("a", is_active=not expected),
        make_version("b", is_active=not expected),
    ]
    other = make_version("c", is_active=not expected)

    admin_client.post(URL, {"action": action, "_selected_action": [row.pk for row in selected]})

    assert set(ModelVersion.objects.filter(is_active=expected)) == set(selected)
    assert other.is_active is not expected


def test_the_view_permission_allows_neither_changes_nor_actions(
    admin_client: Client, iris: ModelVersion
) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    admin_client.force_login(viewer)

    assert admin_client.get(f"{URL}{iris.pk}/change/").status_code == 200
    assert admin_client.post(f"{URL}{iris.pk}/change/", CHANGED).status_code == 403
    admin_client.post(URL, {"action": "deactivate", "_selected_action": [iris.pk]})
    assert add(admin_client, framework="onnx").status_code == 403
    iris.refresh_from_db()
    assert iris.is_active


def test_a_post_without_a_csrf_token_is_refused(db: None) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    assert add(browser, framework="onnx").status_code == 403
    assert ModelVersion.objects.count() == 0
