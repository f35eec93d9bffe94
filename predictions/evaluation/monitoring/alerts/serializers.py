"""What the endpoints of alerts accept and return."""

from rest_framework import serializers

from predictions.models import Alert, Severity
from registry.pagination import MAX_ID
from registry.serializers import safe_name


class AlertQuery(serializers.Serializer[object]):
    """The filters of the list of alerts."""

    model = safe_name(100, required=False, help_text="The name of a registered model.")
    model_id = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_ID, help_text="The ID of a version."
    )
    monitor_id = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    severity = serializers.ChoiceField(required=False, choices=Severity.choices)
    open = serializers.BooleanField(
        required=False, help_text="true: those that are not over; false: those that are."
    )


class AlertSerializer(serializers.Serializer[Alert]):
    """An alert, with its newest finding."""

    id = serializers.IntegerField()
    monitor_id = serializers.IntegerField()
    monitor = serializers.CharField(source="monitor.name")
    model_id = serializers.IntegerField()
    model = serializers.CharField(source="model.name")
    version = serializers.CharField(source="model.version")
    kind = serializers.CharField()
    variable = serializers.CharField(allow_blank=True)
    segment = serializers.CharField(allow_blank=True)
    severity = serializers.ChoiceField(choices=Severity.choices)
    reason = serializers.CharField()
    finding = serializers.DictField()
    opened_at = serializers.DateTimeField()
    window_until = serializers.DateTimeField(
        help_text="The end of the newest window in which it was found."
    )
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(
        source="acknowledged_by.username", default=None, allow_null=True
    )
    closed_at = serializers.DateTimeField(allow_null=True)
