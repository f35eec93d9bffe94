"""Request bodies and responses of the API key endpoints."""

from datetime import datetime, timedelta

from django.conf import settings
from rest_framework import serializers

from registry.access.keys.changes import MAX_OVERLAP_HOURS, default_expiry
from registry.access.keys.values import SCHEME
from registry.database import clock
from registry.exact_json.serializers import StrictSerializer, StrictTextField
from registry.models import ApiKey, Right
from registry.models.access import MAX_KEY_NAME_LENGTH, MAX_USERNAME_LENGTH
from registry.models.registered_models import MAX_RATE_LIMIT
from registry.serializers import safe_name

MAX_MODELS = 100
MAX_DAYS = 36_500


class ApiKeyRequest(StrictSerializer):
    name = StrictTextField(max_length=MAX_KEY_NAME_LENGTH, help_text="What the key is for.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Right.choices),
        min_length=1,
        max_length=len(Right),
        help_text="What the key may do, of what its owner may.",
    )
    models = serializers.ListField(
        child=safe_name(100),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MAX_MODELS,
        help_text="The names of the models that it is for; by default, all that its owner may use.",
    )
    expires_in_days = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="By default as long as API_KEY_MAX_DAYS allows.",
    )
    rate_limit = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_RATE_LIMIT,
        help_text="Requests per minute; by default, no limit.",
    )
    owner = StrictTextField(
        required=False,
        max_length=MAX_USERNAME_LENGTH,
        help_text="The username of the key's owner, if that is somebody else.",
    )

    def validate_scopes(self, scopes: list[str]) -> set[Right]:
        return {Right(scope) for scope in scopes}

    def validate_expires_in_days(self, days: int) -> int:
        limit: int = settings.API_KEY_MAX_DAYS
        if limit and days > limit:
            raise serializers.ValidationError(
                f"Must be at most {limit}, the setting API_KEY_MAX_DAYS."
            )
        return days


def expiry_after(days: int | None) -> datetime | None:
    """When a key made now expires, if it was asked to after so many days."""
    return default_expiry() if days is None else clock.now() + timedelta(days=days)


class RotationRequest(StrictSerializer):
    overlap_hours = serializers.IntegerField(
        required=False,
        default=24,
        min_value=0,
        max_value=MAX_OVERLAP_HOURS,
        help_text="Hours for which the old key stays valid.",
    )


class ApiKeyQuery(serializers.Serializer[object]):
    """The filters of the list of keys."""

    owner = serializers.CharField(required=False, max_length=MAX_USERNAME_LENGTH)
    valid_only = serializers.BooleanField(required=False, default=False)


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key without its value, which nothing stores."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    prefix = serializers.SerializerMethodField(help_text="How the key begins.")
    scopes = serializers.ListField(
        source="rights", child=serializers.ChoiceField(choices=Right.choices), read_only=True
    )
    models = serializers.SerializerMethodField(help_text="null: all models.")

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "name",
            "prefix",
            "owner",
            "scopes",
            "models",
            "rate_limit",
            "created_at",
            "created_by",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "replaces",
        ]
        read_only_fields = fields

    def get_prefix(self, key: ApiKey) -> str:
        return f"{SCHEME}{key.prefix}"

    def get_models(self, key: ApiKey) -> list[str] | None:
        return None if key.all_models else [row.name for row in key.registered_models.all()]


class NewApiKeySerializer(ApiKeySerializer):
    """A key that was just made, with its value."""

    key = serializers.SerializerMethodField(help_text="Shown only now: keep it in a safe place.")

    class Meta(ApiKeySerializer.Meta):
        fields = ["key", *ApiKeySerializer.Meta.fields]
        read_only_fields = fields

    def get_key(self, key: ApiKey) -> str:
        value: str = self.context["value"]
        return value
