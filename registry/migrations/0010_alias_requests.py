"""Moves of aliases that somebody else must approve."""

from importlib import import_module
from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import registry.exact_json.fields
import registry.models.alias_requests


def make_triggers_again(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        history_is_kept = import_module("registry.migrations.0004_history_is_kept")
        history_is_kept.make_triggers(apps, schema_editor)


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0009_rate_usage"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AliasRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("set", "set the alias"),
                            ("roll_back", "roll the alias back"),
                            ("remove", "remove the alias"),
                            ("end_approval", "move aliases without approval from now on"),
                        ],
                        max_length=20,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("alias", models.CharField(blank=True, max_length=50)),
                (
                    "move",
                    registry.exact_json.fields.ExactJSONField(
                        default=dict, help_text="What to do, as in the body of the request."
                    ),
                ),
                (
                    "based_on",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="The number of the alias's last move at that time, 0 for none.",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("request_id", models.CharField(blank=True, max_length=100)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "expires_at",
                    models.DateTimeField(default=registry.models.alias_requests.default_expiry),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                ("decision_reason", models.CharField(blank=True, max_length=500)),
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
                    "decided_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "model_alias_requests",
            },
        ),
        # Its reverse runs after that of the next: on SQLite, a table that loses a column is made
        # again, without its triggers.
        migrations.RunPython(migrations.RunPython.noop, make_triggers_again),
        migrations.AddField(
            model_name="aliasmove",
            name="approved_request",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="registry.aliasrequest",
            ),
        ),
        migrations.AddIndex(
            model_name="aliasrequest",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="alias_request_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="aliasrequest",
            index=models.Index(
                models.F("name"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="alias_request_newest_of_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="aliasrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at", None), ("decided_by", None), ("status", "pending")),
                    models.Q(
                        models.Q(("status", "pending"), _negated=True),
                        ("decided_at__isnull", False),
                        ("decided_by__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="alias_request_decision_is_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="aliasrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ["approved", "rejected"]), _negated=True),
                    models.Q(
                        ("decided_by__isnull", False),
                        models.Q(("decided_by", models.F("requested_by")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="alias_request_is_decided_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="aliasrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_by", models.F("requested_by")), ("status", "withdrawn")),
                    models.Q(("status", "withdrawn"), _negated=True),
                    _connector="OR",
                ),
                name="alias_request_is_withdrawn_by_its_user",
            ),
        ),
    ]
