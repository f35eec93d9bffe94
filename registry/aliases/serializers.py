"""The alias endpoints' request and response bodies."""

from typing import TypedDict, TypeVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.exact_json.serializers import (
    JSONObjectField,
    StrictBooleanField,
    StrictSerializer,
    StrictTextField,
)
from registry.exact_json.values import JSONObject
from registry.models import MAX_ALIAS_LENGTH, MAX_REASON_LENGTH, MAX_SHADOWS, Alias, AliasMove
from registry.serializers import safe_name

Row = TypeVar("Row", bound=Alias | AliasMove)


def _version(help_text: str | None = None) -> StrictTextField:
    return StrictTextField(max_length=50, trim_whitespace=False, help_text=help_text)


def _reason() -> StrictTextField:
    return StrictTextField(
        required=False,
        allow_blank=True,
        max_length=MAX_REASON_LENGTH,
        help_text="Recorded in the history.",
    )


class AliasPath(serializers.Serializer[object]):
    """The two path parameters of every alias endpoint."""

    name = safe_name(100)
    alias = safe_name(MAX_ALIAS_LENGTH)


class CanaryRequest(StrictSerializer):
    version = _version(
        help_text="Answers for a share of the subjects instead of the alias's own version."
    )
    percent = serializers.FloatField(
        help_text="The canary's share of the subjects: above 0, at most 100."
    )

    def validate_percent(self, percent: float) -> float:
        # Written so that NaN, which some JSON parsers accept, fails as well.
        if not 0 < percent <= 100:
            raise serializers.ValidationError("Must be above 0 and at most 100.")
        return percent


class AliasRequest(StrictSerializer):
    version = _version(
        help_text="The version that answers from now on. It must be active and have an artifact."
    )
    canary = CanaryRequest(
        required=False,
        allow_null=True,
        help_text="If omitted, the canary stays unless it is promoted; null removes it.",
    )
    shadows = serializers.ListField(
        child=_version(),
        required=False,
        max_length=MAX_SHADOWS,
        help_text="Versions that score each input without their answers being returned. If omitted,"
        " they stay; [] removes them.",
    )
    reason = _reason()
    force = StrictBooleanField(
        required=False,
        default=False,
        help_text="Move the alias even if a version cannot score what its callers send.",
    )
    require = JSONObjectField(
        required=False,
        help_text="A condition that the new version must meet first, such as"
        ' {"replay": 7, "min_agreement": 0.98}.',
    )

    def validate_shadows(self, shadows: list[str]) -> list[str]:
        if len(set(shadows)) != len(shadows):
            raise serializers.ValidationError("Must not list a version twice.")
        return shadows


class RollbackRequest(StrictSerializer):
    reason = _reason()


class AliasQuery(serializers.Serializer[object]):
    """The list endpoint's filters."""

    name = serializers.CharField(required=False, max_length=100)
    alias = serializers.CharField(required=False, max_length=MAX_ALIAS_LENGTH)


class AliasTimeQuery(StrictSerializer):
    at = serializers.DateTimeField(
        required=False,
        help_text="Return what was live at this time. Without a time zone, UTC is assumed.",
    )


class VersionReference(serializers.Serializer[object]):
    model_id = serializers.IntegerField()
    version = serializers.CharField()


class CanaryReference(VersionReference):
    percent = serializers.FloatField()


class ShadowJSON(TypedDict):
    model_id: int
    version: str


class _ArmsSerializer(serializers.Serializer[Row]):
    canary = serializers.SerializerMethodField()
    shadows = serializers.SerializerMethodField()

    @extend_schema_field(CanaryReference(allow_null=True))
    def get_canary(self, row: Row) -> JSONObject | None:
        if row.canary_id is None:
            return None
        if isinstance(row, AliasMove):
            version = row.canary_version
        else:
            version = row.canary.version if row.canary else ""
        return {"model_id": row.canary_id, "version": version, "percent": row.canary_percent}

    @extend_schema_field(VersionReference(many=True))
    def get_shadows(self, row: Row) -> list[ShadowJSON]:
        if isinstance(row, AliasMove):
            recorded: list[ShadowJSON] = row.shadows
            return recorded
        return [{"model_id": shadow.pk, "version": shadow.version} for shadow in row.arms.shadows]


class AliasSerializer(_ArmsSerializer[Alias]):
    """The current state of an alias."""

    name = serializers.CharField()
    alias = serializers.CharField()
    model_id = serializers.IntegerField(source="version_id")
    version = serializers.CharField(source="version.version")
    updated_at = serializers.DateTimeField()


class PastAliasSerializer(_ArmsSerializer[AliasMove]):
    """The state of an alias after a move, in the format of AliasSerializer."""

    name = serializers.CharField()
    alias = serializers.CharField()
    model_id = serializers.IntegerField(source="to_version_id")
    version = serializers.CharField(source="to_version")
    updated_at = serializers.DateTimeField(source="created_at")


class AliasMoveSerializer(_ArmsSerializer[AliasMove]):
    """A move, and the canary and shadows after it."""

    number = serializers.IntegerField()
    action = serializers.ChoiceField(choices=AliasMove.Action.choices)
    from_model_id = serializers.IntegerField(source="from_version_id", allow_null=True)
    from_version = serializers.CharField(allow_blank=True)
    to_model_id = serializers.IntegerField(source="to_version_id", allow_null=True)
    to_version = serializers.CharField(allow_blank=True)
    restores = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    requested_by = serializers.CharField(
        source="approved_request.requested_by.username",
        default=None,
        allow_null=True,
        help_text="Who asked for the move, if `user` approved it.",
    )
    request_reason = serializers.CharField(
        source="approved_request.reason", default=None, allow_null=True
    )
    user = serializers.CharField(source="user.username", default=None, allow_null=True)
    request_id = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
