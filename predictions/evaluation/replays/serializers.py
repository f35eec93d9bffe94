"""What the replay endpoints accept and return."""

import re

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from predictions.evaluation.fields import BoundedDateTimeField, Fields
from predictions.evaluation.replays.plan import VersionKey
from predictions.models import MAX_REPLAY_NAME_LENGTH, Replay, ReplayResult
from predictions.serializers import MAX_SPECIFIER_LENGTH, OutputField
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject
from registry.models import NAME_PATTERN
from registry.pagination import MAX_ID


@extend_schema_field({"type": "string", "example": "wine:3"})
class VersionField(serializers.Field[VersionKey, object, str, object]):
    """A version as `name:version` or by its ID; the validated value is a `VersionKey`."""

    def to_internal_value(self, data: object) -> VersionKey:
        if isinstance(data, str) and not re.fullmatch(r"[0-9]{1,19}", data):
            if len(data) <= MAX_SPECIFIER_LENGTH:
                name, _, version = data.partition(":")
                if re.match(NAME_PATTERN, name) and re.match(NAME_PATTERN, version):
                    return name, version
        elif (isinstance(data, str) or type(data) is int) and 0 < int(data) <= MAX_ID:
            return int(data)
        raise serializers.ValidationError("Must be name:version, such as wine:3, or an ID.")

    def to_representation(self, value: object) -> str:
        return str(value)


class _FromField(serializers.Serializer[object]):
    """Adds the field `from`, which is a keyword in Python."""

    is_from_required = True

    def get_fields(self) -> Fields:
        field = VersionField(
            source="from_version",
            required=self.is_from_required,
            help_text="The version whose predictions are replayed.",
        )
        return {"from": field, **super().get_fields()}


class ReplayRequest(_FromField, StrictSerializer):
    to = VersionField(
        source="to_version", help_text="The version that answers the recorded inputs again."
    )
    since = BoundedDateTimeField(
        required=False, allow_null=True, help_text="Only predictions made at this time or later."
    )
    until = BoundedDateTimeField(
        required=False, allow_null=True, help_text="Only predictions made before this time."
    )
    limit = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_ID,
        help_text="The maximum number of rows; the newest are taken.",
    )
    tolerance = serializers.FloatField(
        required=False,
        allow_null=True,
        min_value=0.0,
        max_value=1e300,
        help_text="Values that differ by at most this agree; by default only rounding may differ.",
    )
    name = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_REPLAY_NAME_LENGTH
    )

    def validate(self, attrs: JSONObject) -> JSONObject:
        since, until = attrs.get("since"), attrs.get("until")
        if since is not None and until is not None and since >= until:
            raise serializers.ValidationError({"since": ["Must be before `until`."]})
        return attrs


class ReplayQuery(_FromField):
    """The filters of the list of replays."""

    is_from_required = False

    to = VersionField(source="to_version", required=False)
    status = serializers.ChoiceField(required=False, choices=Replay.Status.choices)


class ReplayResultQuery(serializers.Serializer[object]):
    """How the results of a replay are listed."""

    order = serializers.ChoiceField(
        required=False,
        default="worst",
        choices=["worst", "newest"],
        help_text="worst: compared rows, the largest distance first. newest: all rows.",
    )


class ReplaySerializer(serializers.ModelSerializer[Replay]):
    """A replay in a list."""

    to = serializers.CharField(source="to_version", help_text="As `name:version`.")
    from_id = serializers.IntegerField(source="from_version_id")
    to_id = serializers.IntegerField(source="to_version_id")
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    agreement = serializers.FloatField(
        source="report.agreement",
        default=None,
        allow_null=True,
        help_text="Null until the replay is completed.",
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

    def get_fields(self) -> Fields:
        field = serializers.CharField(source="from_version", help_text="As `name:version`.")
        return {**super().get_fields(), "from": field}


@extend_schema_field(OpenApiTypes.OBJECT)
class ReportField(serializers.JSONField):
    """The figures: rows, agreement with its interval, differences, classes, the worst ten rows."""


class ReplayDetailSerializer(ReplaySerializer):
    """A replay with its figures."""

    report = ReportField(allow_null=True)

    class Meta(ReplaySerializer.Meta):
        fields = [*ReplaySerializer.Meta.fields, "report"]
        read_only_fields = fields


class AnswerSerializer(serializers.Serializer[object]):
    """One of the two answers to an input."""

    prediction = serializers.FloatField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    output = OutputField(allow_null=True)


class ReplayResultSerializer(serializers.ModelSerializer[ReplayResult]):
    """The recorded and the new answer to one input."""

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
