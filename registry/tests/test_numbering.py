"""A version registered without a number gets the next one, which no other version has."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections, transaction
from rest_framework.test import APIClient

from registry import services
from registry.models import Alias, AliasMove, ModelVersion
from registry.services import Upload, VersionExists
from registry.testing.artifacts import Artifact
from registry.testing.clients import api_client

URL = "/api/v1/models/"
N_THREADS = 50

MakeVersion = Callable[..., ModelVersion]

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path", "db")


def register_numbered(name: str = "iris", **fields: Any) -> str:
    return services.register_model(name=name, framework="sklearn", **fields).version


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], "1"),
        (["1", "2"], "3"),
        (["2", "10", "9"], "11"),
        (["1.5", "v7", "3-rc", "latest"], "1"),
        (["0"], "1"),
        (["007"], "8"),
        (["20260101"], "20260102"),
        (["1", "9" * 30], "2"),
        (["9" * 18], "1" + "0" * 18),
    ],
)
def test_the_next_number_follows_the_highest(
    make_version: MakeVersion, taken: list[str], expected: str
) -> None:
    for version in taken:
        make_version("iris", version=version)
    make_version("other", version="99")

    assert register_numbered() == expected


def test_the_next_number_is_one_query(
    make_version: MakeVersion, django_assert_num_queries: Any
) -> None:
    for version in range(20):
        make_version("iris", version=str(version))

    with django_assert_num_queries(1):
        assert ModelVersion.objects.next_number("iris") == "20"


def test_a_request_may_omit_the_version(
    admin_api: APIClient, iris_artifact: Artifact, model_path: Path
) -> None:
    without_file = admin_api.post(URL, {"name": "iris", "framework": "sklearn"})
    uploaded = admin_api.post(
        URL,
        {"name": "iris", "framework": "sklearn", "artifact": iris_artifact.upload()},
        format="multipart",
    )

    assert (without_file.status_code, without_file.json()["version"]) == (201, "1")
    assert (uploaded.status_code, uploaded.json()["version"]) == (201, "2")
    artifact = ModelVersion.objects.get(version="2").artifact
    assert (model_path / artifact).read_bytes() == iris_artifact.content


@pytest.mark.parametrize("version", ["", None])
def test_an_empty_version_is_an_error(admin_api: APIClient, version: Any) -> None:
    response = admin_api.post(URL, {"name": "iris", "framework": "sklearn", "version": version})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["version"]


def test_the_command_may_omit_the_version(tmp_path: Path, iris_artifact: Artifact) -> None:
    file = tmp_path / "model.skops"
    file.write_bytes(iris_artifact.content)
    output = StringIO()

    for _ in range(2):
        call_command("register_model", str(file), "--name=iris", stdout=output)

    assert "Registered iris:1 as" in output.getvalue()
    assert "Registered iris:2 as" in output.getvalue()


def test_a_number_taken_in_the_meantime_is_skipped(
    make_version: MakeVersion, iris_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version("iris", version="1")
    numbers = iter(["1", "1", "2"])
    monkeypatch.setattr(
        "registry.models.ModelVersionQuerySet.next_number", lambda *_: next(numbers)
    )

    row = services.register_model(name="iris", upload=Upload([iris_artifact.content]))

    assert row.version == "2"


def test_a_number_that_is_taken_every_time_is_a_conflict(
    make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version("iris", version="1")
    monkeypatch.setattr("registry.models.ModelVersionQuerySet.next_number", lambda *_: "1")

    with pytest.raises(VersionExists, match="iris:1 already exists"):
        register_numbered()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("with_file", [False, True])
def test_simultaneous_registrations_each_get_a_number(
    manager: User, iris_artifact: Artifact, model_path: Path, with_file: bool
) -> None:
    def register(i: int) -> Any:
        body: dict[str, Any] = {"name": "iris", "framework": "sklearn"}
        if with_file:
            body["artifact"] = iris_artifact.upload()
        try:
            response = api_client(manager).post(
                URL, body, format="multipart" if with_file else "json"
            )
            return response.status_code, response.json().get("version")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        results = list(pool.map(register, range(N_THREADS)))

    assert {status for status, _ in results} == {201}
    assert sorted(int(version) for _, version in results) == list(range(1, N_THREADS + 1))
    files = [path for path in model_path.rglob("*") if path.is_file()]
    # All have the same content.
    assert len(files) == (1 if with_file else 0)
    if with_file:
        assert {str(path.relative_to(model_path)) for path in files} == set(
            ModelVersion.objects.values_list("artifact", flat=True)
        )
        assert AliasMove.objects.count() == Alias.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_explicit_and_assigned_numbers_do_not_collide(manager: User) -> None:
    def register(i: int) -> int:
        body = {"name": "iris", "framework": "sklearn"} | ({"version": str(i)} if i % 2 else {})
        try:
            return api_client(manager).post(URL, body).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(N_THREADS) as pool:
        statuses = list(pool.map(register, range(N_THREADS)))

    assert set(statuses) <= {201, 409}
    assert all(status == 201 for status in statuses[::2])
    assert ModelVersion.objects.count() == statuses.count(201)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has a single lock.")
@pytest.mark.django_db(transaction=True)
def test_different_names_are_numbered_concurrently(manager: User) -> None:
    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        register_numbered("iris")

        def other() -> str:
            try:
                return register_numbered("wine")
            finally:
                connections.close_all()

        assert pool.submit(other).result(timeout=10) == "1"
