"""Request bodies and responses of the model endpoints."""

import math
from collections.abc import Mapping
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.exact_json.serializers import (
    JSONObjectField,
    JSONValueField,
    StrictBooleanField,
    StrictSerializer,
    StrictTextField,
)
from registry.exact_json.values import JSONObject
from registry.models import (
    MAX_CONCURRENCY,
    MAX_TIMEOUT_SECONDS,
    NAME_PATTERN,
    ModelVersion,
)
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
    """A declared signature: names, types and classes that the file does not contain."""

    def to_internal_value(self, data: object) -> JSONObject:
        value: JSONObject = super().to_internal_value(data)
        try:
            Signature.from_json(value)
        except SignatureError as error:
            raise serializers.ValidationError(str(error)) from error
        return value


@extend_schema_field({"type": "array", "items": {}, "minItems": 1, "maxItems": MAX_EXAMPLE_ROWS})
class ExampleField(JSONValueField):
    """Rows of `input_data`: objects by feature name, `{"features": [...]}`, or plain lists."""

    def to_internal_value(self, data: object) -> list[Any]:
        value = super().to_internal_value(data)
        if not isinstance(value, list) or not 0 < len(value) <= MAX_EXAMPLE_ROWS:
            raise serializers.ValidationError(f"Must be a list of 1 to {MAX_EXAMPLE_ROWS} rows.")
        return [{"features": row} if isinstance(row, list) else row for row in value]


@extend_schema_field(OpenApiTypes.BINARY)
class ArtifactField(serializers.FileField):
    """The model file of a multipart form."""


class ArtifactRequest(StrictSerializer):
    """A model file, with what it does not contain itself."""

    artifact = ArtifactField(help_text="The model file: .skops, .onnx, .ubj, .json, .txt")
    signature = SignatureField(required=False)
    example = ExampleField(required=False)


def safe_name(
    max_length: int, *, required: bool = True, help_text: str | None = None
) -> serializers.CharField:
    """A field for a name that is also used as a folder name."""
    message = "Must start with a letter or digit and contain only letters, digits and . _ + -"
    return serializers.CharField(
        max_length=max_length,
        # "iris\n" is a mistake to report, not another spelling of "iris".
        trim_whitespace=False,
        validators=[RegexValidator(NAME_PATTERN, message)],
        required=required,
        help_text=help_text,
    )


class FiniteFloatField(serializers.FloatField):
    """A number. Its base class reads the texts "nan" and "inf" as well, which no column accepts."""

    def to_internal_value(self, data: Any) -> float:
        value: float = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class LimitsRequest(StrictSerializer):
    """A version's own limits; null leaves them to the settings."""

    max_concurrency = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_CONCURRENCY,
        help_text="Callers that each worker may keep waiting for the version while it is slow.",
    )
    timeout_seconds = FiniteFloatField(
        required=False,
        allow_null=True,
        min_value=0.001,
        max_value=MAX_TIMEOUT_SECONDS,
        help_text="Seconds within which the version must answer a request.",
    )


class ModelVersionRequest(ArtifactRequest, LimitsRequest):
    name = safe_name(100)
    version = safe_name(50, required=False, help_text="Defaults to the name's next whole number.")
    framework = serializers.ChoiceField(
        choices=list(FRAMEWORKS),
        error_messages={
            "invalid_choice": '"{input}" is not supported. Choose one of '
            f"{', '.join(FRAMEWORKS)}."
        },
    )
    metrics = JSONObjectField(required=False, allow_null=True)
    description = StrictTextField(required=False, allow_blank=True, max_length=5000)
    tags = JSONObjectField(required=False)
    artifact = ArtifactField(required=False)

    def validate(self, attrs: Mapping[str, object]) -> Mapping[str, object]:
        for name in ("signature", "example"):
            if name in attrs and "artifact" not in attrs:
                raise serializers.ValidationError(
                    {name: ["Is only accepted together with the artifact."]}
                )
        return attrs


class ModelVersionChange(LimitsRequest):
    """The fields of a version that can change after registration."""

    metrics = JSONObjectField(required=False, allow_null=True)
    description = StrictTextField(required=False, allow_blank=True, max_length=5000)
    tags = JSONObjectField(required=False)
    is_active = StrictBooleanField(required=False)
    force = StrictBooleanField(
        required=False, help_text="Deactivate the version even if an alias uses it."
    )


class ModelVersionQuery(serializers.Serializer[object]):
    """The filters of the list of versions."""

    active_only = serializers.BooleanField(required=False, default=True)
    name = serializers.CharField(required=False, max_length=100)
    framework = serializers.CharField(required=False, max_length=50)


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
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
            "max_concurrency",
            "timeout_seconds",
            "quarantined_at",
            "quarantine_reason",
        ]
        read_only_fields = fields
