"""The database refuses to change or delete recorded moves."""

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from registry.aliases import moves
from registry.aliases.recording import Attribution
from registry.models import Alias, AliasMove, ModelVersion
from registry.testing.artifacts import Artifact

MakeVersion = Callable[..., ModelVersion]


@pytest.fixture
def move(iris: ModelVersion) -> AliasMove:
    moves.set_alias(name="iris", alias="champion", version="1")
    return AliasMove.objects.get()


def assert_refused(change: Callable[[], object]) -> None:
    with pytest.raises(IntegrityError, match="moves of aliases are kept"), transaction.atomic():
        change()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_a_move_is_neither_changed_nor_deleted(move: AliasMove) -> None:
    move.reason = "another"

    assert_refused(move.save)
    assert_refused(move.delete)
    assert_refused(lambda: AliasMove.objects.update(to_version="2"))
    assert_refused(lambda: AliasMove.objects.all().delete())
    assert_refused(lambda: execute("DELETE FROM model_alias_moves"))
    assert AliasMove.objects.get().reason == ""


def test_a_move_is_not_replaced(move: AliasMove) -> None:
    move.reason = "another"

    assert_refused(
        lambda: AliasMove.objects.bulk_create(
            [move], update_conflicts=True, unique_fields=["id"], update_fields=["reason"]
        )
    )
    if connection.vendor == "sqlite":
        columns = ", ".join(str(field.column) for field in AliasMove._meta.concrete_fields)
        assert_refused(
            lambda: execute(
                f"INSERT OR REPLACE INTO model_alias_moves ({columns})"  # noqa: S608
                f" SELECT {columns} FROM model_alias_moves"
            )
        )
    assert AliasMove.objects.get().reason == ""


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL has TRUNCATE.")
@pytest.mark.django_db(transaction=True)
def test_the_table_of_moves_is_not_truncated(move: AliasMove) -> None:
    assert_refused(lambda: execute("TRUNCATE model_alias_moves"))
    assert_refused(lambda: execute("TRUNCATE model_alias_moves CASCADE"))


def test_move_numbers_are_unique(move: AliasMove) -> None:
    again = AliasMove(name="iris", alias="champion", number=1, action="set")

    with pytest.raises(IntegrityError), transaction.atomic():
        again.save()


# -- migrations


@pytest.mark.django_db(transaction=True)
def test_the_migration_makes_the_first_usable_version_champion(
    make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("iris", version="bare")
    make_version("iris", iris_artifact, version="retired", is_active=False)
    first = make_version("iris", iris_artifact, version="9")
    make_version("iris", iris_artifact, version="1")
    wine = make_version("wine", iris_artifact)
    make_version("nothing")
    try:
        call_command("migrate", "registry", "0001", verbosity=0)
        assert ModelVersion.objects.count() == 6
    finally:
        call_command("migrate", verbosity=0)

    assert dict(Alias.objects.values_list("name", "version")) == {"iris": first.pk, "wine": wine.pk}
    assert set(Alias.objects.values_list("alias", flat=True)) == {"champion"}
    move = AliasMove.objects.get(name="iris")
    assert (move.number, move.action, move.to_version_id, move.to_version) == (
        1,
        "automatic",
        first.pk,
        "9",
    )
    assert "when aliases came" in move.reason
    assert Alias.objects.route("iris").version_id == first.pk
    assert len(set(Alias.objects.values_list("salt", flat=True))) == 2


@pytest.mark.django_db(transaction=True)
def test_the_migration_recreates_the_triggers_but_not_the_champions(iris: ModelVersion) -> None:
    moves.set_alias(name="iris", alias="champion", version="1", attribution=Attribution("mine"))
    try:
        call_command("migrate", "registry", "0002", verbosity=0)
        AliasMove.objects.update(request_id="changed")
    finally:
        call_command("migrate", verbosity=0)

    move = AliasMove.objects.get()
    assert (move.reason, move.request_id) == ("mine", "changed")
    assert_refused(move.delete)
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes("registry")) == []
