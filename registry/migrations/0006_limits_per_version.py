"""Each version may have its own limits on time and concurrency."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0005_help_texts"),
    ]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="max_concurrency",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Callers that each worker may keep waiting for it while it is slow."
                " Empty: the setting MAX_CONCURRENT_PER_MODEL.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="modelversion",
            name="timeout_seconds",
            field=models.FloatField(
                blank=True,
                help_text="Seconds within which it must answer. Empty: the setting "
                "PREDICTION_TIMEOUT_SECONDS.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_concurrency", None),
                    models.Q(("max_concurrency__gte", 1), ("max_concurrency__lte", 10000)),
                    _connector="OR",
                ),
                name="model_version_max_concurrency_is_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("timeout_seconds", None),
                    models.Q(("timeout_seconds__gt", 0), ("timeout_seconds__lte", 86400)),
                    _connector="OR",
                ),
                name="model_version_timeout_is_valid",
            ),
        ),
    ]
