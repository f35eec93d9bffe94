"""Versions in the admin: the same checks as through the API, and nothing held open meanwhile."""

import json
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from predictions.models import Prediction
from registry.artifacts import proof
from registry.models import ModelVersion
from registry.testing.fixtures import Artifact

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
ADDED = {**EMPTY, "name": "iris", "version": "1"}
CHANGED = {key: EMPTY[key] for key in ("description", "metrics", "tags", "is_active")}

MakeVersion = Callable[..., ModelVersion]

pytestmark = pytest.mark.usefixtures("proofs_once", "model_path")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200, response.status_code
    found: dict[str, list[str]] = response.context["adminform"].form.errors
    assert found
    return found


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return unescape(response.content.decode())


def add(browser: Client, **fields: Any) -> Any:
    return browser.post(f"{URL}add/", {**ADDED, **fields})


# -- pages


def test_the_list_shows_versions_with_and_without_a_file(
    admin_client: Client, iris: ModelVersion, make_version: MakeVersion
) -> None:
    make_version("bare")

    page = text_of(admin_client.get(URL))

    assert "iris" in page
    assert "no file yet" in page


@pytest.mark.parametrize("n", [1, 9])
def test_the_list_costs_the_same_however_long(
    admin_client: Client, make_version: MakeVersion, django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        make_version("m", version=str(i))

    # Session, user, the page's count, its rows, and the choices of the framework filter.
    with django_assert_num_queries(5):
        admin_client.get(URL)


@pytest.mark.parametrize("query", ["?q=iris", "?is_active__exact=1", "?framework=sklearn", "?o=5"])
def test_the_list_is_searched_filtered_and_sorted(
    admin_client: Client, iris: ModelVersion, query: str
) -> None:
    assert "iris" in text_of(admin_client.get(URL + query))


def test_a_version_shows_its_file_signature_and_metrics(
    admin_client: Client, mixed: ModelVersion
) -> None:
    mixed.update(metrics={"accuracy": 0.97, "<b>": [1, {"a": None}]}, tags={"team": "<i>x</i>"})

    response = admin_client.get(f"{URL}{mixed.pk}/change/")
    page = text_of(response)

    assert mixed.sha256 in page
    assert "city" in page
    assert "BYTES" in page
    assert "accuracy" in page
    assert "0.97" in page
    assert "scikit-learn" in page
    assert b"<i>x</i>" not in response.content
    assert f"/admin/predictions/prediction/?model__id__exact={mixed.pk}" in page


def test_a_version_without_a_file_is_shown(admin_client: Client, make_version: MakeVersion) -> None:
    page = text_of(admin_client.get(f"{URL}{make_version('bare').pk}/change/"))

    assert "no file yet" in page
    assert 'name="model_file"' in page


def test_a_version_with_a_file_takes_no_other(admin_client: Client, iris: ModelVersion) -> None:
    page = text_of(admin_client.get(f"{URL}{iris.pk}/change/"))

    assert 'name="model_file"' not in page
    assert 'name="name"' not in page


def test_the_form_for_a_new_version_is_shown(admin_client: Client) -> None:
    assert 'name="model_file"' in text_of(admin_client.get(f"{URL}add/"))


# -- registering


def test_an_upload_registers_a_version_with_its_file(
    admin_client: Client, iris_artifact: Artifact, model_path: Path
) -> None:
    response = add(
        admin_client, model_file=iris_artifact.upload(), metrics='{"accuracy": 1e20}', tags="{}"
    )

    version = ModelVersion.objects.get()
    assert response.status_code == 302
    assert (version.name, version.version, version.framework) == ("iris", "1", "sklearn")
    assert (version.metrics, version.is_active) == ({"accuracy": 1e20}, True)
    assert version.created_by is not None
    assert version.created_by.username == "root"
    assert version.signature == iris_artifact.proof.signature
    assert files_below(model_path) == [model_path / version.artifact]


def test_a_version_is_registered_inactive(admin_client: Client, iris_artifact: Artifact) -> None:
    fields = {key: value for key, value in ADDED.items() if key != "is_active"}

    admin_client.post(f"{URL}add/", {**fields, "model_file": iris_artifact.upload()})

    assert not ModelVersion.objects.get().is_active


def test_a_version_is_registered_before_its_file(admin_client: Client) -> None:
    assert add(admin_client, framework="onnx").status_code == 302
    assert not ModelVersion.objects.get().has_artifact


def test_example_rows_and_a_signature_are_taken(
    admin_client: Client, diabetes_artifact: Artifact
) -> None:
    add(
        admin_client,
        model_file=diabetes_artifact.upload(),
        declared_signature=json.dumps(diabetes_artifact.declared),
        example=json.dumps([diabetes_artifact.row]),
    )

    [tensor] = ModelVersion.objects.get().signature["inputs"]
    assert tensor["features"][:2] == ["age", "sex"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "../x"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"version": "1/2"}, "version"),
        ({"metrics": "{"}, "metrics"),
        ({"metrics": "[1]"}, "metrics"),
        ({"metrics": '{"x": NaN}'}, "metrics"),
        ({"metrics": '{"x": 18446744073709551617}'}, "metrics"),
        ({"metrics": '{"x": "\\u0000"}'}, "metrics"),
        ({"metrics": "[" * 100_000}, "metrics"),
        ({"tags": '{"x": 1e400}'}, "tags"),
        ({"description": "a" * 5001}, "description"),
        ({"framework": "keras"}, "framework"),
        ({"framework": "onnx"}, "framework"),
        ({"declared_signature": '{"input": 1}'}, "declared_signature"),
        ({"declared_signature": "[" * 100_000}, "declared_signature"),
        ({"example": "[]"}, "example"),
        ({"example": "[[1, 2, 3]]"}, "example"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_field_that_does_not_fit_is_shown_and_nothing_is_written(
    admin_client: Client,
    iris_artifact: Artifact,
    model_path: Path,
    fields: dict[str, str],
    named: str,
) -> None:
    response = add(admin_client, **{"model_file": iris_artifact.upload(), **fields})

    assert list(errors(response)) == [named]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_a_bad_file_is_shown_at_its_field_and_nothing_is_written(
    admin_client: Client, model_path: Path
) -> None:
    response = add(admin_client, model_file=SimpleUploadedFile("a.skops", b"\x80\x04abc"))

    assert "pickle" in errors(response)["model_file"][0]
    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def test_a_version_needs_a_file_or_a_framework(admin_client: Client) -> None:
    assert list(errors(add(admin_client))) == ["framework"]


def test_a_taken_version_is_shown_as_an_error(
    admin_client: Client, iris: ModelVersion, iris_artifact: Artifact, model_path: Path
) -> None:
    before = files_below(model_path)

    response = add(admin_client, model_file=iris_artifact.upload())

    assert "already exists" in str(errors(response))
    assert ModelVersion.objects.count() == 1
    assert files_below(model_path) == before


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_an_upload_is_proved(
    admin_client: Client,
    iris_artifact: Artifact,
    make_version: MakeVersion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def prove(path: Path, **given: Any) -> proof.Proof:
        seen.append(connection.in_atomic_block)
        return iris_artifact.proof

    monkeypatch.setattr(proof, "prove", prove)
    bare = make_version("bare")

    add(admin_client, model_file=iris_artifact.upload())
    admin_client.post(f"{URL}{bare.pk}/change/", {**EMPTY, "model_file": iris_artifact.upload()})

    assert seen == [False, False]
    assert ModelVersion.objects.exclude(artifact="").count() == 2


# -- changing


def test_a_file_is_attached_later(
    admin_client: Client, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    bare = make_version("bare")

    response = admin_client.post(
        f"{URL}{bare.pk}/change/",
        {**EMPTY, "description": "now with a file", "model_file": iris_artifact.upload()},
    )

    bare.refresh_from_db()
    assert response.status_code == 302
    assert bare.sha256 == iris_artifact.sha256
    assert bare.description == "now with a file"


def test_a_bad_file_for_a_version_is_shown_at_its_field(
    admin_client: Client, make_version: MakeVersion, model_path: Path
) -> None:
    bare = make_version("bare")

    response = admin_client.post(
        f"{URL}{bare.pk}/change/",
        {**EMPTY, "description": "x", "model_file": SimpleUploadedFile("a", b"?")},
    )

    bare.refresh_from_db()
    assert list(errors(response)) == ["model_file"]
    assert (bare.has_artifact, bare.description) == (False, "")
    assert files_below(model_path) == []


def test_the_notes_of_a_version_are_changed_and_nothing_else(
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
    shown = page.context["adminform"].form
    fields = {name: shown[name].value() for name in CHANGED}

    admin_client.post(f"{URL}{iris.pk}/change/", fields)

    iris.refresh_from_db()
    assert (iris.metrics, iris.tags) == ({"x": 1e20}, {"a": "é"})


@pytest.mark.parametrize(("action", "expected"), [("activate", True), ("deactivate", False)])
def test_selected_versions_are_activated_and_deactivated(
    admin_client: Client, make_version: MakeVersion, action: str, expected: bool
) -> None:
    chosen = [make_version("a", is_active=not expected), make_version("b", is_active=not expected)]
    other = make_version("c", is_active=not expected)

    admin_client.post(URL, {"action": action, "_selected_action": [row.pk for row in chosen]})

    assert set(ModelVersion.objects.filter(is_active=expected)) == set(chosen)
    assert other.is_active is not expected


def test_who_may_only_look_can_neither_change_nor_act(
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


# -- deleting


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["page", "action"])
def test_an_unused_version_is_deleted_with_its_file(
    admin_client: Client, iris: ModelVersion, model_path: Path, way: str
) -> None:
    delete(admin_client, iris, way)

    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


@pytest.mark.parametrize("way", ["page", "action"])
def test_a_used_version_is_kept_with_its_file(
    admin_client: Client, iris: ModelVersion, model_path: Path, way: str
) -> None:
    Prediction.objects.bulk_create(Prediction(model=iris, input_data={}) for _ in range(30))

    page = text_of(delete(admin_client, iris, way))

    assert "Cannot delete" in page
    assert page.count("/admin/predictions/prediction/") <= 20 + 1
    assert ModelVersion.objects.get() == iris
    assert files_below(model_path) == [model_path / iris.artifact]


def delete(browser: Client, version: ModelVersion, way: str) -> Any:
    if way == "page":
        return browser.post(f"{URL}{version.pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [version.pk], "post": "yes"}
    return browser.post(URL, chosen)
