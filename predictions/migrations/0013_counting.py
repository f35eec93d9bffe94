from django.db import migrations, models

import predictions.models.references


class Migration(migrations.Migration):
    dependencies = [
        ("predictions", "0012_flags"),
    ]

    operations = [
        migrations.AddField(
            model_name="countedto",
            name="changes",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="countedto",
            name="reached_at",
            field=models.DateTimeField(
                help_text="Everything that was committed before this time has been counted.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="stalehour",
            name="token",
            field=models.BigIntegerField(
                default=predictions.models.references.new_token,
                help_text="Changes each time that the hour is marked again.",
            ),
        ),
    ]
