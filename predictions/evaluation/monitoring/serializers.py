"""What the endpoints of monitors and their reports accept and return."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from predictions.evaluation.monitoring.segments import (
    MAX_SEGMENTS,
    InvalidSegments,
    notes_of,
    parse_segments,
)
from predictions.models import (
    MAX_EMAIL_LENGTH,
    MAX_MONITOR_NAME_LENGTH,
    MAX_WINDOW_HOURS,
    Monitor,
    MonitorReport,
    Severity,
)
from registry.exact_json.serializers import (
    JSONValueField,
    StrictBooleanField,
    StrictSerializer,
    StrictTextField,
)
from registry.exact_json.values import JSONObject
from registry.pagination import MAX_ID
from registry.serializers import safe_name

MAX_EMAILS = 20


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "object"},
        "maxItems": MAX_SEGMENTS,
        "example": [{"feature": "plan"}, {"metadata": "region", "values": ["EU"]}, {"arm": True}],
    }
)
class SegmentsField(JSONValueField):
    """A list of segments, whatever the model."""

    def to_internal_value(self, data: object) -> list[JSONObject]:
        try:
            return parse_segments(super().to_internal_value(data))
        except InvalidSegments as error:
            raise serializers.ValidationError(str(error)) from error


class WholeNumberField(serializers.IntegerField):
    """A whole number in JSON; DRF's own field also takes text and true."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            raise serializers.ValidationError("Must be a whole number.")
        return super().to_internal_value(data)


class MonitorChanges(StrictSerializer):
    """What can be changed of a monitor. A PATCH sends some of these fields only."""

    name = StrictTextField(max_length=MAX_MONITOR_NAME_LENGTH)
    window_hours = WholeNumberField(
        required=False,
        min_value=1,
        max_value=MAX_WINDOW_HOURS,
        help_text="The length of a window; 24 by default. Windows begin at multiples of it in UTC,"
        " counted from 1970.",
    )
    segments = SegmentsField(
        required=False,
        help_text="What else to compare by its values: a feature, a key of the metadata with its"
        " values, or the arms of aliases.",
    )
    min_severity = serializers.ChoiceField(
        choices=Severity.choices,
        required=False,
        help_text="Alerts below it are shown, but nobody is told. `warning` by default.",
    )
    emails = serializers.ListField(
        child=serializers.EmailField(max_length=MAX_EMAIL_LENGTH),
        required=False,
        max_length=MAX_EMAILS,
        help_text="Addresses that alerts are sent to.",
    )
    rolls_back_canary = StrictBooleanField(
        required=False,
        help_text="End the canary of an alias when its version gets a severe alert. Setting this,"
        " and any change of such a monitor but stopping it, takes the right to move the model's"
        " aliases.",
    )
    is_active = StrictBooleanField(required=False)

    def validate_emails(self, emails: Sequence[str]) -> list[str]:
        if len(set(emails)) < len(emails):
            raise serializers.ValidationError("Must not list an address twice.")
        if emails and not settings.EMAIL_HOST:
            raise serializers.ValidationError(
                "This installation sends no mail: its operator can set EMAIL_HOST."
            )
        return list(emails)


class MonitorRequest(MonitorChanges):
    """A new monitor."""

    model = safe_name(100, help_text="The name of the registered model.")


class MonitorQuery(serializers.Serializer[object]):
    """The filters of the list of monitors."""

    model = safe_name(100, required=False)
    is_active = serializers.BooleanField(required=False)


class MonitorSerializer(serializers.Serializer[Monitor]):
    """A monitor."""

    id = serializers.IntegerField()
    model = serializers.CharField(source="registered_model.name")
    name = serializers.CharField()
    window_hours = serializers.IntegerField()
    segments = serializers.ListField(child=serializers.DictField())
    min_severity = serializers.ChoiceField(choices=Severity.choices)
    emails = serializers.ListField(child=serializers.CharField())
    rolls_back_canary = serializers.BooleanField()
    is_active = serializers.BooleanField()
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()


class MonitorDetailSerializer(MonitorSerializer):
    """A monitor, with what of it is not compared."""

    notes = serializers.SerializerMethodField(
        help_text="Segments that no reference has rows of, so that they get no verdict."
    )

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_notes(self, monitor: Monitor) -> list[str]:
        return notes_of(monitor)


class MonitorReportQuery(serializers.Serializer[object]):
    """The filters of the list of reports."""

    model_id = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_ID, help_text="The ID of a version."
    )
    status = serializers.ChoiceField(required=False, choices=MonitorReport.Status.choices)


class MonitorReportSerializer(serializers.Serializer[MonitorReport]):
    """A report, without its findings."""

    id = serializers.IntegerField()
    model_id = serializers.IntegerField()
    version = serializers.CharField(source="model.version")
    reference_id = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    rows = serializers.IntegerField()
    status = serializers.ChoiceField(choices=MonitorReport.Status.choices)
    created_at = serializers.DateTimeField()


class MonitorReportDetailSerializer(MonitorReportSerializer):
    """A report with all its findings."""

    findings = serializers.ListField(
        child=serializers.DictField(), help_text="All comparisons, alarms first."
    )
