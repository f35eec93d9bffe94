"""What the model endpoints take and answer."""

from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.exact_json.serializers import JSONObjectField, JSONValueField, StrictSerializer
from registry.models import NAME_PATTERN, ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.signatures.signature import Signature, SignatureError

MAX_EXAMPLE_ROWS = 1000


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "inputs": {"type": "array", "items": {"type": "object"}},
            "outputs": {"type": "array", "items": {"type": "object"}},
            "classes": {"type": "array", "items": {}},
            "columns": {"type": "array", "items": {"type": "object"}},
        },
        "example": {"inputs": [{"name": "age", "datatype": "FP64", "nullable": True}]},
    }
)
class SignatureField(JSONValueField):
    """A declared signature: whatever the file cannot tell by itself."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        try:
            Signature.from_json(value)
        except SignatureError as error:
            raise serializers.ValidationError(str(error)) from error
        return value


@extend_schema_field({"type": "array", "items": {}, "maxItems": MAX_EXAMPLE_ROWS})
class ExampleField(JSONValueField):
    """Rows of `input_data`: objects by feature name, `{"features": [...]}`, or plain lists."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, list) or not 0 < len(value) <= MAX_EXAMPLE_ROWS:
            raise serializers.ValidationError(f"Must be a list of 1 to {MAX_EXAMPLE_ROWS} rows.")
        return [{"features": row} if isinstance(row, list) else row for row in value]


@extend_schema_field(OpenApiTypes.BINARY)
class ArtifactField(serializers.FileField):
    """A model file in a form."""


class ArtifactRequest(StrictSerializer):
    """The file, and what it cannot tell by itself."""

    artifact = ArtifactField(help_text="The model file: .skops, .onnx, .ubj, .json, .txt")
    signature = SignatureField(required=False)
    example = ExampleField(required=False)


def safe_name(max_length: int, **how: Any) -> serializers.CharField:
    """A name that may become a folder's."""
    message = "Must start with a letter or digit and hold only letters, digits and . _ + -"
    # Not trimmed: "iris\n" is a mistake of the caller's, and no other way to say "iris".
    return serializers.CharField(
        max_length=max_length,
        trim_whitespace=False,
        validators=[RegexValidator(NAME_PATTERN, message)],
        **how,
    )


class ModelVersionRequest(ArtifactRequest):
    name = safe_name(100)
    version = safe_name(
        50, required=False, help_text="By default, the next whole number of this name."
    )
    framework = serializers.ChoiceField(
        choices=list(FRAMEWORKS),
        error_messages={
            "invalid_choice": f'"{{input}}" is none of the frameworks: {", ".join(FRAMEWORKS)}.'
        },
    )
    metrics = JSONObjectField(required=False, allow_null=True)
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    tags = JSONObjectField(required=False)
    artifact = ArtifactField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name in ("signature", "example"):
            if name in attrs and "artifact" not in attrs:
                raise serializers.ValidationError({name: ["Is sent together with the artifact."]})
        return attrs


class ModelVersionChange(StrictSerializer):
    """What may change of a version; the rest of it never does."""

    metrics = JSONObjectField(required=False, allow_null=True)
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    tags = JSONObjectField(required=False)
    is_active = serializers.BooleanField(required=False)
    force = serializers.BooleanField(
        required=False, help_text="Deactivate it even if an alias holds it."
    )


class ModelVersionQuery(serializers.Serializer):
    """The filters of the list of versions."""

    active_only = serializers.BooleanField(required=False, default=True)
    name = serializers.CharField(required=False, max_length=100)
    framework = serializers.CharField(required=False, max_length=50)


class ModelVersionSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", default=None, read_only=True)
    metrics = JSONObjectField(allow_null=True)
    tags = JSONObjectField()
    signature = serializers.JSONField(allow_null=True)
    libraries = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = ModelVersion
        fields = [
            "id",
            "name",
            "version",
            "framework",
            "metrics",
            "created_at",
            "is_active",
            "description",
            "tags",
            "signature",
            "sha256",
            "size_bytes",
            "libraries",
            "created_by",
        ]
        read_only_fields = fields
