"""What the replay endpoints take and answer."""

import re
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from predictions.evaluation.outcomes.reports import MAX_ID, MomentField
from predictions.models import MAX_REPLAY_NAME_LENGTH, Replay, ReplayResult
from predictions.serializers import OutputField
from registry.exact_json.serializers import StrictSerializer
from registry.models import NAME_PATTERN

MAX_REFERENCE_LENGTH = 151


@extend_schema_field({"type": "string", "example": "wine:3"})
class VersionReferenceField(serializers.Field):
    """A version as `name:version`, or its id; an int or a pair of name and version."""

    def to_internal_value(self, data: Any) -> int | tuple[str, str]:
        if type(data) is int or (isinstance(data, str) and re.fullmatch(r"[0-9]{1,19}", data)):
            if 0 < int(data) <= MAX_ID:
                return int(data)
        elif isinstance(data, str) and len(data) <= MAX_REFERENCE_LENGTH:
            name, _, version = data.partition(":")
            if re.match(NAME_PATTERN, name) and re.match(NAME_PATTERN, version):
                return name, version
        raise serializers.ValidationError("Must be name:version, such as wine:3, or an id.")

    def to_representation(self, value: Any) -> Any:
        return str(value)


class _FromField:
    """Adds the field that is called `from`, which Python takes for no name."""

    is_from_required = True

    def get_fields(self) -> dict[str, Any]:
        field = VersionReferenceField(
            source="from_version",
            required=self.is_from_required,
            help_text="The version whose predictions are replayed.",
        )
        return {"from": field, **super().get_fields()}  # type: ignore[misc]


class ReplayRequest(_FromField, StrictSerializer):
    to = VersionReferenceField(source="to_version", help_text="The version that answers anew.")
    since = MomentField(
        required=False, allow_null=True, help_text="Only predictions made from then on."
    )
    until = MomentField(required=False, allow_null=True, help_text="Only predictions made before.")
    limit = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_ID,
        help_text="At most so many, the newest.",
    )
    tolerance = serializers.FloatField(
        required=False,
        allow_null=True,
        min_value=0.0,
        max_value=1e300,
        help_text="How far values may differ and agree; by default, as rounding does.",
    )
    name = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_REPLAY_NAME_LENGTH
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        since, until = attrs.get("since"), attrs.get("until")
        if since is not None and until is not None and since >= until:
            raise serializers.ValidationError({"since": ["Must be before `until`."]})
        return attrs


class ReplayQuery(_FromField, serializers.Serializer):
    """The filters of the list of replays."""

    is_from_required = False

    to = VersionReferenceField(source="to_version", required=False)
    status = serializers.ChoiceField(required=False, choices=Replay.Status.choices)


class ReplayResultQuery(serializers.Serializer):
    """How the results of a replay are listed."""

    order = serializers.ChoiceField(
        required=False,
        default="worst",
        choices=["worst", "newest"],
        help_text="worst: what could be compared, the furthest apart first. newest: all rows.",
    )


class ReplaySerializer(serializers.ModelSerializer):
    """A replay as a list shows it."""

    to = serializers.CharField(source="to_version", help_text="As `name:version`.")
    from_id = serializers.IntegerField(source="from_version_id")
    to_id = serializers.IntegerField(source="to_version_id")
    created_by = serializers.CharField(source="created_by.username", default=None, read_only=True)
    agreement = serializers.FloatField(
        source="report.agreement", default=None, help_text="Null until it is completed."
    )

    class Meta:
        model = Replay
        fields = [
            "id",
            "name",
            "to",
            "from_id",
            "to_id",
            "since",
            "until",
            "limit",
            "tolerance",
            "status",
            "error",
            "rows_expected",
            "rows_done",
            "agreement",
            "created_by",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        field = serializers.CharField(source="from_version", help_text="As `name:version`.")
        return {**super().get_fields(), "from": field}


@extend_schema_field(OpenApiTypes.OBJECT)
class ReportField(serializers.JSONField):
    """The figures: rows, agreement with its interval, differences, classes, the worst ten."""


class ReplayDetailSerializer(ReplaySerializer):
    """A replay with its figures."""

    report = ReportField(allow_null=True)

    class Meta(ReplaySerializer.Meta):
        fields = [*ReplaySerializer.Meta.fields, "report"]
        read_only_fields = fields


class AnswerSerializer(serializers.Serializer):
    """One of the two answers to an input."""

    prediction = serializers.FloatField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    output = OutputField(allow_null=True)


class ReplayResultSerializer(serializers.ModelSerializer):
    """Two versions' answers to one input."""

    prediction_id = serializers.IntegerField(source="original_id")
    recorded = AnswerSerializer(source="original")
    new = AnswerSerializer(source="*")

    class Meta:
        model = ReplayResult
        fields = [
            "prediction_id",
            "status",
            "agrees",
            "difference",
            "distance",
            "recorded",
            "new",
            "error",
        ]
        read_only_fields = fields
