"""Request and response bodies of registered models and their grants."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Group, User
from rest_framework import serializers

from registry.exact_json.serializers import (
    JSONObjectField,
    StrictBooleanField,
    StrictSerializer,
    StrictTextField,
)
from registry.models import Grant, RegisteredModel, Right
from registry.models.access import MAX_USERNAME_LENGTH
from registry.models.registered_models import MAX_RATE_LIMIT, MAX_RETENTION_DAYS
from registry.serializers import safe_name


class StrictIntegerField(serializers.IntegerField):
    """A whole number in JSON; DRF's own field also takes texts, and true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


def _username(**options: Any) -> StrictTextField:
    return StrictTextField(max_length=MAX_USERNAME_LENGTH, required=False, **options)


def active_user(username: str) -> User:
    """The active user of this name; raises ValidationError."""
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise serializers.ValidationError("No active user has this name.")
    return user


class RegisteredModelChange(StrictSerializer):
    """The fields of a registered model that can change."""

    description = StrictTextField(required=False, allow_blank=True, max_length=5000)
    owner = _username(allow_null=True, help_text="A username. The owner has every right.")
    contact = StrictTextField(required=False, allow_blank=True, max_length=200)
    tags = JSONObjectField(required=False)
    is_private = StrictBooleanField(required=False)
    needs_approval = StrictBooleanField(required=False)
    retention_days = StrictIntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_RETENTION_DAYS
    )
    rate_limit = StrictIntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_RATE_LIMIT
    )

    def validate_owner(self, username: str | None) -> User | None:
        return None if username is None else active_user(username)


class RegisteredModelRequest(RegisteredModelChange):
    name = safe_name(100)


class RegisteredModelQuery(serializers.Serializer[object]):
    """The list endpoint's filters."""

    name = serializers.CharField(required=False, max_length=100)
    owner = serializers.CharField(required=False, max_length=MAX_USERNAME_LENGTH)


class RegisteredModelSerializer(serializers.ModelSerializer[RegisteredModel]):
    owner = serializers.CharField(
        source="owner.username", default=None, allow_null=True, read_only=True
    )
    tags = JSONObjectField()

    class Meta:
        model = RegisteredModel
        fields = [
            "name",
            "description",
            "owner",
            "contact",
            "tags",
            "is_private",
            "needs_approval",
            "retention_days",
            "rate_limit",
            "created_at",
        ]
        read_only_fields = fields


class RegisteredModelDetailSerializer(RegisteredModelSerializer):
    rights = serializers.ListField(
        child=serializers.ChoiceField(choices=Right.choices),
        help_text="What the caller may do with it.",
    )

    class Meta(RegisteredModelSerializer.Meta):
        fields = [*RegisteredModelSerializer.Meta.fields, "rights"]
        read_only_fields = fields


class GrantRequest(StrictSerializer):
    """A user or a group, and exactly the rights that they have from now on."""

    user = _username(help_text="A username. Give either a user or a group.")
    group = _username(help_text="The name of a group.")
    rights = serializers.ListField(
        child=serializers.ChoiceField(choices=Right.choices), max_length=len(Right), min_length=1
    )

    def validate_user(self, username: str) -> User:
        return active_user(username)

    def validate_group(self, name: str) -> Group:
        group = Group.objects.filter(name=name).first()
        if group is None:
            raise serializers.ValidationError("No group has this name.")
        return group

    def validate(self, attrs: Mapping[str, object]) -> Mapping[str, object]:
        if ("user" in attrs) == ("group" in attrs):
            raise serializers.ValidationError({"user": ["Give exactly one of user and group."]})
        return attrs


class GrantSerializer(serializers.ModelSerializer[Grant]):
    user = serializers.CharField(source="user.username", default=None, allow_null=True)
    group = serializers.CharField(source="group.name", default=None, allow_null=True)
    rights = serializers.ListField(child=serializers.ChoiceField(choices=Right.choices))

    class Meta:
        model = Grant
        fields = ["id", "user", "group", "rights"]
        read_only_fields = fields
