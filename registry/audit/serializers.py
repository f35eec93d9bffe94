"""What the list of audit events accepts and returns."""

from typing import Any

from rest_framework import serializers

from registry.models import AuditEvent
from registry.models.access import MAX_USERNAME_LENGTH


class AuditEventQuery(serializers.Serializer[object]):
    """The filters of the list of audit events."""

    action = serializers.ChoiceField(required=False, choices=AuditEvent.Action.choices)
    user = serializers.CharField(
        required=False,
        max_length=MAX_USERNAME_LENGTH,
        help_text="The username of the user who did it.",
    )
    model = serializers.CharField(
        required=False, max_length=100, help_text="The name of a registered model."
    )
    request_id = serializers.CharField(required=False, max_length=100)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    user = serializers.CharField(source="user.username", default=None, allow_null=True)
    user_id = serializers.IntegerField(
        allow_null=True, help_text="Stays the same when the user is anonymised."
    )
    api_key = serializers.CharField(
        source="api_key.prefix",
        default=None,
        allow_null=True,
        help_text="How the API key begins, after `mlapi_`.",
    )
    details = serializers.DictField(child=serializers.JSONField())

    class Meta:
        model = AuditEvent
        fields = [
            "id",
            "created_at",
            "action",
            "user",
            "user_id",
            "api_key",
            "model",
            "target",
            "details",
            "request_id",
        ]
        read_only_fields = fields

    def to_representation(self, row: AuditEvent) -> dict[str, Any]:
        """By hand, since the command that exports events writes millions of them."""
        return {
            "id": row.pk,
            "created_at": row.created_at,
            "action": row.action,
            "user": row.user.get_username() if row.user else None,
            "user_id": row.user_id,
            "api_key": row.api_key.prefix if row.api_key else None,
            "model": row.model,
            "target": row.target,
            "details": row.details,
            "request_id": row.request_id,
        }
