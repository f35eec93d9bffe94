"""What the database itself guarantees of versions, and how references are resolved."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from registry.models import Alias, ModelNotFound, ModelVersion
from registry.testing.artifacts import Artifact

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
    # A name is registered first, under the same condition.
    with violated("(model_version|registered_model)_name_is_safe"):
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


def test_a_specifier_resolves_to_a_version_an_alias_or_the_champion(
    make_version: Callable[..., ModelVersion],
    iris_artifact: Artifact,
    django_assert_num_queries: Any,
) -> None:
    first, second, third = (make_version("iris", iris_artifact, version=str(i)) for i in (1, 2, 3))
    make_version("wine", iris_artifact)
    Alias.objects.create(name="iris", alias="champion", version=first)
    Alias.objects.create(name="iris", alias="challenger", version=second)
    expected = {"iris": first, "iris@champion": first, "iris@challenger": second, "iris:3": third}

    for specifier, version in expected.items():
        with django_assert_num_queries(1):
            assert ModelVersion.objects.resolve_specifier(specifier) == version


def test_an_alias_of_an_inactive_version_is_not_resolved(iris: ModelVersion) -> None:
    Alias.objects.create(name="iris", alias="champion", version=iris)
    iris.update(is_active=False)

    with pytest.raises(ModelNotFound, match="Model iris not found or inactive"):
        ModelVersion.objects.resolve_specifier("iris")


@pytest.mark.parametrize(
    "reference", ["iris", "iris@", "iris@x", "iris:2", "wine", "wine:1", "iris:", ":1", "@", ""]
)
def test_an_unknown_specifier_is_named_in_the_error(iris: ModelVersion, reference: str) -> None:
    with pytest.raises(ModelNotFound, match=f"Model {reference} not found or inactive"):
        ModelVersion.objects.resolve_specifier(reference)


def test_an_inactive_version_is_not_resolved(iris: ModelVersion) -> None:
    iris.update(is_active=False)

    with pytest.raises(ModelNotFound, match=f"Model {iris.pk} not found or inactive"):
        ModelVersion.objects.resolve(iris.pk)
    with pytest.raises(ModelNotFound):
        ModelVersion.objects.resolve_specifier("iris:1")


def test_an_update_writes_only_the_named_fields(iris: ModelVersion) -> None:
    stale = ModelVersion.objects.get(pk=iris.pk)
    iris.update(description="new")

    stale.update(is_active=False)

    iris.refresh_from_db()
    assert (iris.description, iris.is_active) == ("new", False)
