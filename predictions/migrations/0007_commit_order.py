from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import predictions.models.commit_order
from predictions.models.commit_order import OFFSET_FUNCTION, create_offset_function


def create_function(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(create_offset_function())


def drop_function(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP FUNCTION {OFFSET_FUNCTION}()")


class Migration(migrations.Migration):
    dependencies = [
        ("predictions", "0006_help_texts"),
    ]

    operations = [
        migrations.RunPython(create_function, drop_function),
        # The default is not volatile, so PostgreSQL evaluates it once, and does not rewrite the
        # table: all rows that exist get the number of this transaction.
        migrations.AddField(
            model_name="prediction",
            name="transaction_id",
            field=models.BigIntegerField(
                db_default=predictions.models.commit_order.CurrentTransaction(),
                editable=False,
                help_text="The transaction that inserted the row; 0 on SQLite.",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                models.F("transaction_id"), models.F("id"), name="prediction_commit_order"
            ),
        ),
    ]
