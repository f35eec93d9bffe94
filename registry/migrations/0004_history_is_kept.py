"""Triggers that refuse to change or delete a recorded move.

SQLite drops triggers with their table. A later migration that alters a column of
`model_alias_moves` recreates the table there, so it must recreate these triggers as well.
"""

from typing import Any

from django.db import migrations

REFUSAL = "moves of aliases are kept: they are neither changed nor deleted"

POSTGRESQL = f"""
CREATE FUNCTION model_alias_moves_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER model_alias_moves_are_kept BEFORE UPDATE OR DELETE ON model_alias_moves
    FOR EACH ROW EXECUTE FUNCTION model_alias_moves_are_kept();
CREATE TRIGGER model_alias_moves_are_not_emptied BEFORE TRUNCATE ON model_alias_moves
    FOR EACH STATEMENT EXECUTE FUNCTION model_alias_moves_are_kept();
"""
POSTGRESQL_BACK = """
DROP TRIGGER model_alias_moves_are_not_emptied ON model_alias_moves;
DROP TRIGGER model_alias_moves_are_kept ON model_alias_moves;
DROP FUNCTION model_alias_moves_are_kept();
"""

# INSERT OR REPLACE deletes the old row without firing the DELETE trigger.
SQLITE = {
    "model_alias_moves_are_not_changed": "BEFORE UPDATE ON model_alias_moves",
    "model_alias_moves_are_not_deleted": "BEFORE DELETE ON model_alias_moves",
    "model_alias_moves_are_not_replaced": (
        "BEFORE INSERT ON model_alias_moves WHEN EXISTS (SELECT 1 FROM model_alias_moves"
        " WHERE id = NEW.id OR name = NEW.name AND alias = NEW.alias AND number = NEW.number)"
    ),
}


def make_triggers(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL)
        return
    for name, event in SQLITE.items():
        schema_editor.execute(
            f"CREATE TRIGGER {name} {event} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )


def drop_triggers(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL_BACK)
        return
    for name in SQLITE:
        schema_editor.execute(f"DROP TRIGGER {name}")


class Migration(migrations.Migration):
    dependencies = [("registry", "0003_champions")]

    operations = [migrations.RunPython(make_triggers, drop_triggers)]
