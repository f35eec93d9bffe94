"""What the alias endpoints take and answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.exact_json.serializers import JSONObjectField, StrictSerializer
from registry.models import MAX_ALIAS_LENGTH, MAX_REASON_LENGTH, MAX_SHADOWS, AliasMove
from registry.serializers import safe_name


class VersionField(serializers.CharField):
    """A version of the alias's name, as text."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, int | float):
            raise serializers.ValidationError(f'Must be text, such as "{data}".')
        return super().to_internal_value(data)


def _version(**how: Any) -> VersionField:
    return VersionField(max_length=50, trim_whitespace=False, **how)


def _reason() -> serializers.CharField:
    return serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_REASON_LENGTH,
        help_text="Why; it is kept in the history.",
    )


class AliasPlace(serializers.Serializer):
    """Which alias is meant, from the path."""

    name = safe_name(100)
    alias = safe_name(MAX_ALIAS_LENGTH)


class CanaryRequest(StrictSerializer):
    version = _version(help_text="Answers instead of the alias's version for some subjects.")
    percent = serializers.FloatField(help_text="Of how many of them: above 0, at most 100.")

    def validate_percent(self, percent: float) -> float:
        # Also false for NaN, which JSON from elsewhere may hold.
        if not 0 < percent <= 100:
            raise serializers.ValidationError("Must be above 0 and at most 100.")
        return percent


class AliasRequest(StrictSerializer):
    version = _version(
        help_text="The version that answers from now on; it must be active and have an artifact."
    )
    canary = CanaryRequest(
        required=False,
        allow_null=True,
        help_text="Left out, it stays unless its version is promoted; null ends it.",
    )
    shadows = serializers.ListField(
        child=_version(),
        required=False,
        max_length=MAX_SHADOWS,
        help_text="Versions that score each input unseen. Left out, they stay; [] ends them.",
    )
    reason = _reason()
    force = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Even if the versions could not answer what the present callers send.",
    )
    require = JSONObjectField(
        required=False,
        help_text="What must be shown of the new version first, such as"
        ' {"replay": 7, "min_agreement": 0.98}.',
    )

    def validate_shadows(self, shadows: list[str]) -> list[str]:
        if len(set(shadows)) != len(shadows):
            raise serializers.ValidationError("Names a version twice.")
        return shadows


class RollbackRequest(StrictSerializer):
    reason = _reason()


class AliasQuery(serializers.Serializer):
    """The filters of the list of aliases."""

    name = serializers.CharField(required=False, max_length=100)
    alias = serializers.CharField(required=False, max_length=MAX_ALIAS_LENGTH)


class AliasTimeQuery(StrictSerializer):
    at = serializers.DateTimeField(
        required=False, help_text="What was live then; without a zone it is UTC."
    )


class VersionReference(serializers.Serializer):
    model_id = serializers.IntegerField()
    version = serializers.CharField()


class CanaryReference(VersionReference):
    percent = serializers.FloatField()


class _Arms(serializers.Serializer):
    canary = serializers.SerializerMethodField()
    shadows = serializers.SerializerMethodField()

    @extend_schema_field(CanaryReference(allow_null=True))
    def get_canary(self, row: Any) -> dict[str, Any] | None:
        if isinstance(row, AliasMove):
            model_id, version = row.canary_id, row.canary_version
        else:
            model_id, version = row.canary_id, row.canary.version if row.canary else ""
        if model_id is None:
            return None
        return {"model_id": model_id, "version": version, "percent": row.canary_percent}

    @extend_schema_field(VersionReference(many=True))
    def get_shadows(self, row: Any) -> list[dict[str, Any]]:
        if isinstance(row, AliasMove):
            return row.shadows
        return [{"model_id": shadow.pk, "version": shadow.version} for shadow in row.arms.shadows]


class AliasSerializer(_Arms):
    """An alias as it is."""

    name = serializers.CharField()
    alias = serializers.CharField()
    model_id = serializers.IntegerField(source="version_id")
    version = serializers.CharField(source="version.version")
    updated_at = serializers.DateTimeField()


class PastAliasSerializer(_Arms):
    """An alias as it was after a move, in the same form."""

    name = serializers.CharField()
    alias = serializers.CharField()
    model_id = serializers.IntegerField(source="to_version_id")
    version = serializers.CharField(source="to_version")
    updated_at = serializers.DateTimeField(source="created_at")


class AliasMoveSerializer(_Arms):
    """A move, and the canary and shadows after it."""

    number = serializers.IntegerField()
    action = serializers.ChoiceField(choices=AliasMove.Action.choices)
    from_model_id = serializers.IntegerField(source="from_version_id", allow_null=True)
    from_version = serializers.CharField()
    to_model_id = serializers.IntegerField(source="to_version_id", allow_null=True)
    to_version = serializers.CharField()
    restores = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    user = serializers.CharField(source="user.username", default=None)
    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()
