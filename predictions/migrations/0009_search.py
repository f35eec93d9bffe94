from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [
        ("predictions", "0008_api_key"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                F("subject"),
                F("created_at"),
                F("id"),
                condition=Q(subject__isnull=False),
                name="prediction_of_subject",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                F("request_id"), F("created_at"), F("id"), name="prediction_of_request"
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                F("user"),
                F("created_at"),
                F("id"),
                condition=Q(user__isnull=False),
                name="prediction_of_user",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                F("model"),
                F("alias"),
                F("arm"),
                F("created_at"),
                F("id"),
                condition=Q(alias__isnull=False),
                name="prediction_of_alias",
            ),
        ),
    ]
