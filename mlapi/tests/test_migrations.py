"""The migrations of both apps can be reversed and applied again."""

import pytest
from django.core.management import call_command
from django.db import connection

from predictions.models import Prediction
from registry.models import Alias, AliasMove, AliasShadow, ModelVersion

TABLES = {
    model._meta.db_table for model in (Alias, AliasMove, AliasShadow, ModelVersion, Prediction)
}


def constraints() -> set[str]:
    with connection.cursor() as cursor:
        return {
            name
            for table in TABLES
            for name in connection.introspection.get_constraints(cursor, table)
        }


@pytest.mark.django_db(transaction=True)
def test_reversing_and_applying_all_migrations_restores_the_constraints() -> None:
    before = constraints()
    try:
        call_command("migrate", "registry", "zero", verbosity=0)
        assert not TABLES & set(connection.introspection.table_names())
    finally:
        call_command("migrate", verbosity=0)

    assert set(connection.introspection.table_names()) >= TABLES
    assert constraints() == before
    assert {
        "model_version_name_is_safe",
        "model_version_artifact_is_whole",
        "alias_name_is_safe",
        "alias_canary_has_percent",
        "alias_canary_is_another",
        "alias_newest",
        "alias_move_newest",
        "alias_move_newest_of_alias",
        "prediction_failed_has_error",
        "prediction_newest",
        "prediction_newest_of_model",
        "prediction_failed_of_model",
        "prediction_failed_newest",
    } <= before


def test_no_migration_is_missing(db: None) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
