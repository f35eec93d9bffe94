"""A row for each model name, with its rights, keys for machines, and the audit trail.

SQLite drops triggers with their table. A later migration that recreates `model_versions`,
`registered_models` or `audit_events` there must make these triggers again: see `make_triggers`.
"""

from typing import Any

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import registry.exact_json.fields

# Databases of the release before insert versions as well, and know nothing of registered models.
REGISTER_NAMES = """
INSERT INTO registered_models (name, tags, created_at)
SELECT name, '{}', min(created_at) FROM model_versions GROUP BY name
"""

POSTGRESQL = """
CREATE FUNCTION model_version_registers_its_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM registered_models WHERE name = NEW.name) THEN
        INSERT INTO registered_models (name, tags) VALUES (NEW.name, '{}')
        ON CONFLICT (name) DO NOTHING;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER model_version_registers_its_name BEFORE INSERT ON model_versions
    FOR EACH ROW EXECUTE FUNCTION model_version_registers_its_name();

ALTER TABLE model_versions ADD CONSTRAINT model_version_name_is_registered
    FOREIGN KEY (name) REFERENCES registered_models (name);
ALTER TABLE model_aliases ADD CONSTRAINT alias_name_is_registered
    FOREIGN KEY (name) REFERENCES registered_models (name);

CREATE FUNCTION audit_events_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are kept: they are neither changed nor deleted'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_events_are_kept BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_are_kept();
CREATE TRIGGER audit_events_are_not_emptied BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_are_kept();
"""
POSTGRESQL_BACK = """
DROP TRIGGER audit_events_are_not_emptied ON audit_events;
DROP TRIGGER audit_events_are_kept ON audit_events;
DROP FUNCTION audit_events_are_kept();
ALTER TABLE model_aliases DROP CONSTRAINT alias_name_is_registered;
ALTER TABLE model_versions DROP CONSTRAINT model_version_name_is_registered;
DROP TRIGGER model_version_registers_its_name ON model_versions;
DROP FUNCTION model_version_registers_its_name();
"""

NAMES_ARE_KEPT = "versions or aliases have this model name"
EVENTS_ARE_KEPT = "audit events are kept: they are neither changed nor deleted"
IS_IN_USE = (
    "(EXISTS (SELECT 1 FROM model_versions WHERE name = OLD.name)"
    " OR EXISTS (SELECT 1 FROM model_aliases WHERE name = OLD.name))"
)
SQLITE = {
    # Not INSERT OR IGNORE: the conflict clause of the statement that fires the trigger replaces it.
    "model_version_registers_its_name": (
        "BEFORE INSERT ON model_versions BEGIN INSERT INTO registered_models (name, tags)"
        " SELECT NEW.name, '{}' WHERE NOT EXISTS"
        " (SELECT 1 FROM registered_models WHERE name = NEW.name); END"
    ),
    "registered_model_name_is_not_deleted": (
        f"BEFORE DELETE ON registered_models WHEN {IS_IN_USE}"
        f" BEGIN SELECT RAISE(ABORT, '{NAMES_ARE_KEPT}'); END"
    ),
    "registered_model_name_is_not_changed": (
        f"BEFORE UPDATE OF name ON registered_models WHEN NEW.name <> OLD.name AND {IS_IN_USE}"
        f" BEGIN SELECT RAISE(ABORT, '{NAMES_ARE_KEPT}'); END"
    ),
    "audit_events_are_not_changed": (
        f"BEFORE UPDATE ON audit_events BEGIN SELECT RAISE(ABORT, '{EVENTS_ARE_KEPT}'); END"
    ),
    "audit_events_are_not_deleted": (
        f"BEFORE DELETE ON audit_events BEGIN SELECT RAISE(ABORT, '{EVENTS_ARE_KEPT}'); END"
    ),
    # INSERT OR REPLACE deletes the old row without firing the DELETE trigger.
    "audit_events_are_not_replaced": (
        "BEFORE INSERT ON audit_events WHEN NEW.id IN (SELECT id FROM audit_events)"
        " BEGIN SELECT RAISE(ABORT, 'audit events are kept: they are never replaced'); END"
    ),
}


def make_triggers(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL)
        return
    for name, statement in SQLITE.items():
        schema_editor.execute(f"CREATE TRIGGER {name} {statement}")


def drop_triggers(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL_BACK)
        return
    for name in SQLITE:
        schema_editor.execute(f"DROP TRIGGER {name}")


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("registry", "0007_quarantine"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RegisteredModel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "description",
                    models.TextField(blank=True, db_default="", default="", max_length=5000),
                ),
                (
                    "contact",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Where to ask about it: an e-mail address, a channel, a team.",
                        max_length=200,
                    ),
                ),
                (
                    "tags",
                    registry.exact_json.fields.AnnotationField(blank=True, default=dict),
                ),
                (
                    "is_private",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Only its owner and users with a grant may know that it exists. "
                        "Otherwise, every user has the rights in the setting "
                        "DEFAULT_RIGHTS.",
                    ),
                ),
                (
                    "needs_approval",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Somebody else must approve each move of its aliases.",
                    ),
                ),
                (
                    "retention_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Days for which its predictions are kept. Empty: for ever.",
                        null=True,
                    ),
                ),
                (
                    "rate_limit",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Prediction requests per minute, of all callers together. Empty: "
                        "no limit.",
                        null=True,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        help_text="Has every right on this model.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "registered_models",
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "predict",
                    models.BooleanField(default=False, help_text="May request predictions."),
                ),
                (
                    "read_log",
                    models.BooleanField(
                        default=False,
                        help_text="May read everybody's predictions, not only their own.",
                    ),
                ),
                (
                    "report_outcomes",
                    models.BooleanField(
                        default=False, help_text="May report what turned out to be true."
                    ),
                ),
                (
                    "manage_versions",
                    models.BooleanField(
                        default=False,
                        help_text="May register, change and delete versions, and their files.",
                    ),
                ),
                (
                    "move_aliases",
                    models.BooleanField(
                        default=False, help_text="May move aliases, and set canaries and shadows."
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="model_grants",
                        to="auth.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="model_grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "registered_model",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to="registry.registeredmodel",
                    ),
                ),
            ],
            options={
                "db_table": "model_grants",
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "predict",
                    models.BooleanField(default=False, help_text="May request predictions."),
                ),
                (
                    "read_log",
                    models.BooleanField(
                        default=False,
                        help_text="May read everybody's predictions, not only their own.",
                    ),
                ),
                (
                    "report_outcomes",
                    models.BooleanField(
                        default=False, help_text="May report what turned out to be true."
                    ),
                ),
                (
                    "manage_versions",
                    models.BooleanField(
                        default=False,
                        help_text="May register, change and delete versions, and their files.",
                    ),
                ),
                (
                    "move_aliases",
                    models.BooleanField(
                        default=False, help_text="May move aliases, and set canaries and shadows."
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "prefix",
                    models.CharField(
                        editable=False, help_text="How the key begins.", max_length=12, unique=True
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        editable=False,
                        help_text="The SHA-256 of the whole key.",
                        max_length=64,
                        unique=True,
                    ),
                ),
                (
                    "all_models",
                    models.BooleanField(
                        default=True,
                        help_text="Whether it is for every model that its owner may use.",
                    ),
                ),
                (
                    "rate_limit",
                    models.PositiveIntegerField(
                        blank=True, help_text="Requests per minute. Empty: no limit.", null=True
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True, help_text="Empty: it does not expire.", null=True
                    ),
                ),
                (
                    "last_used_at",
                    models.DateTimeField(
                        editable=False, help_text="To within a minute or so.", null=True
                    ),
                ),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="api_keys",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "replaces",
                    models.ForeignKey(
                        editable=False,
                        help_text="The key that it was rotated from.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replacements",
                        to="registry.apikey",
                    ),
                ),
                (
                    "registered_models",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Those that it is for, if not all.",
                        related_name="+",
                        to="registry.registeredmodel",
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "db_table": "api_keys",
            },
        ),
        # Nothing to do in the database: SQLite would copy both tables.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name="alias",
                    name="registered_model",
                    field=models.ForeignObject(
                        editable=False,
                        from_fields=["name"],
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="aliases",
                        to="registry.registeredmodel",
                        to_fields=["name"],
                    ),
                ),
                migrations.AddField(
                    model_name="modelversion",
                    name="registered_model",
                    field=models.ForeignObject(
                        editable=False,
                        from_fields=["name"],
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="registry.registeredmodel",
                        to_fields=["name"],
                    ),
                ),
            ]
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("logged_in", "logged in"),
                            ("login_failed", "failed to log in"),
                            ("key_created", "created an API key"),
                            ("key_changed", "changed an API key"),
                            ("key_revoked", "revoked an API key"),
                            ("rights_changed", "changed rights"),
                            ("model_changed", "changed a registered model"),
                            ("version_registered", "registered a version"),
                            ("version_changed", "changed a version"),
                            ("version_deleted", "deleted a version"),
                            ("artifact_downloaded", "downloaded an artifact"),
                            ("alias_moved", "moved an alias"),
                            ("approval_requested", "asked for approval"),
                            ("approval_decided", "decided on an approval"),
                            ("predictions_read", "read other people's predictions"),
                            ("exported", "exported predictions"),
                            ("erased", "erased a subject"),
                            ("pruned", "deleted predictions past their retention"),
                            ("hold_placed", "placed a legal hold"),
                            ("hold_released", "released a legal hold"),
                            ("webhook_changed", "changed a webhook"),
                        ],
                        max_length=30,
                    ),
                ),
                (
                    "model",
                    models.CharField(
                        blank=True,
                        help_text="The name of the registered model, if it is about one.",
                        max_length=100,
                    ),
                ),
                (
                    "target",
                    models.CharField(
                        blank=True, help_text="What was changed or read, in words.", max_length=300
                    ),
                ),
                ("details", registry.exact_json.fields.ExactJSONField(default=dict)),
                ("request_id", models.CharField(blank=True, max_length=100)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "api_key",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="registry.apikey",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "audit_events",
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="audit_event_newest",
                    ),
                    models.Index(
                        models.F("model"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="audit_event_newest_of_model",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="registeredmodel",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="registered_model_newest",
            ),
        ),
        migrations.AddConstraint(
            model_name="registeredmodel",
            constraint=models.CheckConstraint(
                condition=models.Q(("name__regex", "\\A[A-Za-z0-9][A-Za-z0-9._+-]*\\Z")),
                name="registered_model_name_is_safe",
            ),
        ),
        migrations.AddConstraint(
            model_name="registeredmodel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("retention_days", None),
                    models.Q(("retention_days__gte", 1), ("retention_days__lte", 36500)),
                    _connector="OR",
                ),
                name="registered_model_retention_is_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="registeredmodel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate_limit", None),
                    models.Q(("rate_limit__gte", 1), ("rate_limit__lte", 100000000)),
                    _connector="OR",
                ),
                name="registered_model_rate_limit_is_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("group__isnull", False), ("user", None)),
                    models.Q(("group", None), ("user__isnull", False)),
                    _connector="OR",
                ),
                name="grant_is_of_user_or_group",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("user__isnull", False)),
                fields=("registered_model", "user"),
                name="grant_of_user_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("group__isnull", False)),
                fields=("registered_model", "group"),
                name="grant_of_group_unique",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="api_key_newest",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate_limit", None),
                    models.Q(("rate_limit__gte", 1), ("rate_limit__lte", 100000000)),
                    _connector="OR",
                ),
                name="api_key_rate_limit_is_valid",
            ),
        ),
        migrations.RunSQL(REGISTER_NAMES, migrations.RunSQL.noop),
        migrations.RunPython(make_triggers, drop_triggers),
    ]
