"""What the database itself guarantees of versions, and how they are found."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from registry.models import ModelNotFound, ModelVersion

WHOLE = {
    "artifact": "a/1/x.onnx",
    "sha256": "0" * 64,
    "size_bytes": 1,
    "signature": {"inputs": [], "outputs": []},
}


def violated(constraint: str) -> Any:
    return pytest.raises(IntegrityError, match=constraint)


def create(**fields: Any) -> ModelVersion:
    with transaction.atomic():
        return ModelVersion.objects.create(
            **{"name": "a", "version": "1", "framework": "onnx", **fields}
        )


@pytest.mark.parametrize("column", ["name", "version"])
@pytest.mark.parametrize(
    "value", ["", "../x", "a/b", ".hidden", "-x", "a b", "a\n", "\na", "a\nb", "é", "a:1"]
)
def test_unsafe_names_violate_a_constraint(db: None, column: str, value: str) -> None:
    with violated("model_version_name_is_safe"):
        create(**{column: value})


@pytest.mark.parametrize("value", ["a", "A.b_c+d-e", "0", "1.2.3+build.5"])
def test_safe_names_are_stored(db: None, value: str) -> None:
    assert create(name=value, version=value).pk


def test_a_name_and_version_exist_once(db: None) -> None:
    create()

    # SQLite names the columns of a broken unique constraint, PostgreSQL its name.
    named = {"sqlite": "name, .*version"}.get(connection.vendor, "model_version_unique")
    with violated(named):
        create()


@pytest.mark.parametrize("missing", list(WHOLE))
def test_half_an_artifact_violates_a_constraint(db: None, missing: str) -> None:
    empty = getattr(ModelVersion(), missing)

    with violated("model_version_artifact_is_whole"):
        create(**{**WHOLE, missing: empty})


def test_an_empty_file_violates_a_constraint(db: None) -> None:
    with violated("model_version_artifact_is_whole"):
        create(**{**WHOLE, "size_bytes": 0})


@pytest.mark.parametrize("fields", [{}, WHOLE])
def test_a_version_has_a_whole_artifact_or_none(db: None, fields: dict[str, Any]) -> None:
    assert create(**fields).has_artifact == bool(fields)


def test_an_inactive_version_is_not_resolved(iris: ModelVersion) -> None:
    iris.revise(is_active=False)

    with pytest.raises(ModelNotFound, match=f"Model {iris.pk} not found or inactive"):
        ModelVersion.objects.resolve(iris.pk)
    with pytest.raises(ModelNotFound, match="Model iris:1 not found or inactive"):
        ModelVersion.objects.id_of("iris", "1")


def test_revising_writes_the_named_fields_alone(iris: ModelVersion) -> None:
    stale = ModelVersion.objects.get(pk=iris.pk)
    iris.revise(description="new")

    stale.revise(is_active=False)

    iris.refresh_from_db()
    assert (iris.description, iris.is_active) == ("new", False)
