"""The constraints that the input of a prediction violates."""

from django.db import migrations, models

import registry.exact_json.fields


class Migration(migrations.Migration):
    dependencies = [
        ("predictions", "0011_monitoring"),
    ]

    operations = [
        migrations.AddField(
            model_name="prediction",
            name="flags",
            field=registry.exact_json.fields.ExactJSONField(
                help_text='Constraints that the input violates, such as ["age:max"]; null if none.',
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                models.F("model"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("flags__isnull", False)),
                name="prediction_flagged_of_model",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("flags__isnull", False)),
                name="prediction_flagged_newest",
            ),
        ),
    ]
