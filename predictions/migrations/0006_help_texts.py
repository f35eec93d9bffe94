import django.db.models.deletion
from django.db import migrations, models

import registry.exact_json.fields


class Migration(migrations.Migration):
    dependencies = [
        ("predictions", "0005_idempotency_keys"),
    ]

    operations = [
        migrations.AlterField(
            model_name="idempotencykey",
            name="digest",
            field=models.CharField(
                help_text="SHA-256 of the request, in hexadecimal.", max_length=64
            ),
        ),
        migrations.AlterField(
            model_name="outcome",
            name="label",
            field=registry.exact_json.fields.ExactJSONField(
                help_text="The true class, for a classifier.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="outcome",
            name="value",
            field=models.FloatField(help_text="The true value, for a regressor.", null=True),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="alias",
            field=models.CharField(
                help_text="The alias in the request; null if the request named a version.",
                max_length=50,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="confidence",
            field=models.FloatField(help_text="The probability of the predicted class.", null=True),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="latency_ms",
            field=models.FloatField(
                help_text="Time spent in the model, in milliseconds.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="output",
            field=registry.exact_json.fields.ExactJSONField(
                help_text="Label and probabilities by class; or all outputs by name.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="prediction",
            field=models.FloatField(
                help_text="The value of a regressor or the class index of a classifier.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="primary",
            field=models.ForeignKey(
                db_index=False,
                help_text="For a shadow's row: the answered prediction that it copies.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="shadows",
                to="predictions.prediction",
            ),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="reference",
            field=models.CharField(
                help_text="The caller's own ID for the prediction; outcomes may be reported by it.",
                max_length=200,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="prediction",
            name="subject",
            field=models.CharField(
                help_text="Who or what it is about. A canary keeps a subject on one arm.",
                max_length=200,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="replay",
            name="limit",
            field=models.BigIntegerField(
                help_text="The maximum number of rows; the newest are taken.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="replay",
            name="report",
            field=registry.exact_json.fields.ExactJSONField(
                help_text="The figures of a completed replay.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="replay",
            name="rows_expected",
            field=models.BigIntegerField(default=0, help_text="Counted when the replay started."),
        ),
        migrations.AlterField(
            model_name="replay",
            name="since",
            field=models.DateTimeField(
                help_text="Only predictions made at this time or later.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="replay",
            name="tolerance",
            field=models.FloatField(
                help_text="Values that differ by at most this agree; null allows rounding alone.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="replay",
            name="until",
            field=models.DateTimeField(
                help_text="Only predictions made before this time.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="replayresult",
            name="difference",
            field=models.FloatField(
                help_text="New less recorded value, or probability of the recorded label.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="replayresult",
            name="distance",
            field=models.FloatField(
                default=0.0,
                help_text="|difference|; without a difference 0 if the answers agree, else 1.",
            ),
        ),
    ]
