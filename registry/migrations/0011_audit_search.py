from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

ACTIONS = [
    ("logged_in", "logged in"),
    ("login_failed", "failed to log in"),
    ("key_created", "created an API key"),
    ("key_changed", "changed an API key"),
    ("key_revoked", "revoked an API key"),
    ("rights_changed", "changed rights"),
    ("model_changed", "changed a registered model"),
    ("version_registered", "registered a version"),
    ("version_changed", "changed a version"),
    ("version_deleted", "deleted a version"),
    ("artifact_downloaded", "downloaded an artifact"),
    ("alias_moved", "moved an alias"),
    ("approval_requested", "asked for approval"),
    ("approval_decided", "decided on an approval"),
    ("predictions_read", "read other people's predictions"),
    ("exported", "exported predictions"),
    ("erased", "erased a subject"),
    ("pruned", "deleted predictions past their retention"),
    ("hold_placed", "placed a legal hold"),
    ("hold_released", "released a legal hold"),
    ("user_changed", "changed a user or a group"),
    ("webhook_changed", "changed a webhook"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0010_alias_requests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="action",
            field=models.CharField(choices=ACTIONS, max_length=30),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                F("user"),
                F("created_at"),
                F("id"),
                condition=Q(user__isnull=False),
                name="audit_event_of_user",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(F("action"), F("created_at"), F("id"), name="audit_event_of_action"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                F("request_id"), F("created_at"), F("id"), name="audit_event_of_request"
            ),
        ),
    ]
