"""The API key that a prediction was requested with."""

from django.db import migrations, models

import predictions.models.protection


class Migration(migrations.Migration):
    dependencies = [
        ("predictions", "0007_commit_order"),
        ("registry", "0008_registered_models"),
    ]

    operations = [
        migrations.AddField(
            model_name="prediction",
            name="api_key",
            field=models.ForeignKey(
                db_index=False,
                help_text="The API key that the request was made with, if any.",
                null=True,
                on_delete=predictions.models.protection.protect_by_sample,
                related_name="+",
                to="registry.apikey",
            ),
        ),
    ]
