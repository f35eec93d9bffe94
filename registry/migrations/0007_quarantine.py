"""Versions that crashed: whether they are suspects, how often, and their quarantine."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0006_limits_per_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="is_suspect",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Scored in a process of its own, because a worker failed in one of its "
                "calls.",
            ),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="crashes",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="quarantined_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="quarantine_reason",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=200
            ),
        ),
    ]
