"""New help texts and labels, which the database does not contain: no SQL is executed."""

import django.db.models.deletion
from django.db import migrations, models

import registry.exact_json.fields
import registry.models.aliases


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0004_history_is_kept"),
    ]

    operations = [
        migrations.AlterField(
            model_name="alias",
            name="canary",
            field=models.ForeignKey(
                blank=True,
                help_text="Answers for a share of the subjects instead of the alias's own version.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="registry.modelversion",
            ),
        ),
        migrations.AlterField(
            model_name="alias",
            name="canary_percent",
            field=models.FloatField(
                blank=True,
                help_text="The canary's share of the subjects, in percent: above 0, at most 100.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="alias",
            name="salt",
            field=models.CharField(
                default=registry.models.aliases.new_salt,
                editable=False,
                help_text="Mixed into the hash that assigns subjects to arms. It never changes.",
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="aliasmove",
            name="action",
            field=models.CharField(
                choices=[
                    ("automatic", "first version became champion"),
                    ("set", "version set"),
                    ("configured", "canary or shadows changed"),
                    ("withdrawn", "deactivated version removed"),
                    ("rolled_back", "rolled back"),
                    ("removed", "alias removed"),
                    ("deleted", "alias deleted with its only version"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="aliasmove",
            name="number",
            field=models.PositiveIntegerField(
                help_text="Counts this alias's moves from 1, without gaps."
            ),
        ),
        migrations.AlterField(
            model_name="aliasmove",
            name="restores",
            field=models.PositiveIntegerField(
                help_text="For a rollback, the number of the move that it restored.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="aliasmove",
            name="shadows",
            field=registry.exact_json.fields.ExactJSONField(
                default=list, help_text="Each shadow's model id and version."
            ),
        ),
        migrations.AlterField(
            model_name="aliasmove",
            name="to_version_id",
            field=models.BigIntegerField(help_text="Null if the alias was removed.", null=True),
        ),
    ]
