"""The request and response bodies of erasures and legal holds."""

from typing import Any

from rest_framework import serializers

from predictions.models import (
    MAX_CALLERS_NAME_LENGTH,
    MAX_PRIVACY_REASON_LENGTH,
    Erasure,
    LegalHold,
)
from predictions.retention.erasing import REMAINS
from registry.exact_json.serializers import StrictSerializer, StrictTextField
from registry.exact_json.values import JSONObject


class NameField(StrictTextField):
    """A subject or a reference, as it was sent with the prediction."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False,
            max_length=MAX_CALLERS_NAME_LENGTH,
            trim_whitespace=False,
            **options,
        )


class ErasureRequest(StrictSerializer):
    subject = NameField(help_text="Who or what is to be forgotten.")
    reference = NameField(help_text="Instead of a subject: the predictions with this reference.")
    model = StrictTextField(required=False, max_length=100, help_text="Only of this model.")
    reason = StrictTextField(
        max_length=MAX_PRIVACY_REASON_LENGTH,
        help_text="Why, such as the number of the request. It is kept, and must not name the"
        " subject.",
    )

    def validate(self, attrs: JSONObject) -> JSONObject:
        if ("subject" in attrs) == ("reference" in attrs):
            message = "Give exactly one of subject and reference."
            raise serializers.ValidationError({"subject": [message]})
        return attrs


class ErasureSerializer(serializers.ModelSerializer[Erasure]):
    """The evidence of an erasure."""

    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = Erasure
        fields = [
            "id",
            "kind",
            "pseudonym",
            "model",
            "reason",
            "counts",
            "created_at",
            "created_by",
        ]
        read_only_fields = fields


class NewErasureSerializer(ErasureSerializer):
    """The evidence, and what an erasure does not reach."""

    remains = serializers.SerializerMethodField()

    class Meta(ErasureSerializer.Meta):
        fields = [*ErasureSerializer.Meta.fields, "remains"]
        read_only_fields = fields

    def get_remains(self, row: Erasure) -> list[str]:
        return list(REMAINS)


class ErasureQuery(serializers.Serializer[object]):
    """The filter of the list of erasures."""

    pseudonym = serializers.CharField(required=False, max_length=64)


class LegalHoldRequest(StrictSerializer):
    model = StrictTextField(required=False, max_length=100, help_text="The model's name.")
    subject = NameField(help_text="Whose predictions are kept.")
    reason = StrictTextField(max_length=MAX_PRIVACY_REASON_LENGTH)

    def validate(self, attrs: JSONObject) -> JSONObject:
        if "model" not in attrs and "subject" not in attrs:
            raise serializers.ValidationError({"model": ["Give model, subject or both."]})
        return attrs


class ReleaseRequest(StrictSerializer):
    reason = StrictTextField(max_length=MAX_PRIVACY_REASON_LENGTH)


class LegalHoldSerializer(serializers.ModelSerializer[LegalHold]):
    """A legal hold."""

    model = serializers.CharField(
        source="registered_model.name", default=None, allow_null=True, read_only=True
    )
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    released_by = serializers.CharField(
        source="released_by.username", default=None, allow_null=True, read_only=True
    )

    class Meta:
        model = LegalHold
        fields = [
            "id",
            "model",
            "subject",
            "reason",
            "created_at",
            "created_by",
            "released_at",
            "released_by",
            "release_reason",
        ]
        read_only_fields = fields


class LegalHoldQuery(serializers.Serializer[object]):
    """The filter of the list of legal holds."""

    is_active = serializers.BooleanField(required=False)
