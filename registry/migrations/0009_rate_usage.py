"""The use of rate limits, which all processes share."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0008_registered_models"),
    ]

    operations = [
        migrations.CreateModel(
            name="RateUsage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(choices=[("key", "Key"), ("model", "Model")], max_length=10),
                ),
                ("subject_id", models.BigIntegerField()),
                (
                    "minute",
                    models.BigIntegerField(
                        help_text="Minutes since 1970, by the database's clock."
                    ),
                ),
                ("used", models.BigIntegerField(help_text="Requests leased in that minute.")),
                ("lease", models.BigIntegerField(help_text="Requests of the latest lease.")),
            ],
            options={
                "db_table": "rate_usage",
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "subject_id"), name="rate_usage_unique")
                ],
            },
        ),
    ]
