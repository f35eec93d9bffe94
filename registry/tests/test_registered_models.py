"""Each model name has a row of its own."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from registry import services
from registry.aliases.recording import Attribution
from registry.models import AuditEvent, ModelVersion, RegisteredModel

pytestmark = pytest.mark.django_db


def version(name: str, number: str = "1") -> ModelVersion:
    return ModelVersion(name=name, version=number, framework="sklearn")


def test_the_first_version_of_a_name_registers_it_whatever_inserts_it() -> None:
    ModelVersion.objects.bulk_create([version("a"), version("a", "2"), version("b")])
    version("c").save()

    assert set(RegisteredModel.objects.values_list("name", flat=True)) == {"a", "b", "c"}
    row = RegisteredModel.objects.get(name="a")
    assert [v.version for v in row.versions.order_by("version")] == ["1", "2"]
    assert (row.is_private, row.tags, row.description, row.owner) == (False, {}, "", None)
    assert ModelVersion.objects.select_related("registered_model").get(name="b").registered_model


def test_a_name_that_was_added_before_keeps_its_row() -> None:
    row = RegisteredModel.objects.create(name="a", is_private=True)

    version("a").save()

    assert RegisteredModel.objects.get() == row


def test_the_user_who_registers_the_first_version_owns_the_model(
    user: User, django_user_model: type[User]
) -> None:
    other = django_user_model.objects.create_user("other")
    for number, who in (("1", user), ("2", other)):
        services.register_model(name="a", version=number, attribution=Attribution(user=who))

    assert RegisteredModel.objects.get().owner == user


@pytest.mark.parametrize(
    "statement", ["DELETE FROM registered_models", "UPDATE registered_models SET name = 'b'"]
)
def test_a_name_in_use_is_neither_deleted_nor_changed(statement: str) -> None:
    version("a").save()

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert RegisteredModel.objects.get().name == "a"


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit_events", "UPDATE audit_events SET target = ''"]
)
def test_an_audit_event_is_neither_changed_nor_deleted(statement: str) -> None:
    AuditEvent.objects.create(action=AuditEvent.Action.LOGGED_IN, target="ada")

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert AuditEvent.objects.get().target == "ada"
