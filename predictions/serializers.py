"""What the prediction endpoints take and answer."""

import re
from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from predictions.models import MAX_CALLERS_NAME_LENGTH, Prediction
from predictions.serving.recorder import Record
from registry.exact_json.serializers import JSONObjectField, JSONValueField, StrictSerializer
from registry.serializers import ModelVersionSerializer

# A name, a separator, and an alias or a version.
MAX_REFERENCE_LENGTH = 151
PLAIN_NAMES = frozenset({"model", "subject", "reference"})
PLAIN_NAME = re.compile(r"[A-Za-z0-9@:._+-]{1,150}")


@extend_schema_field(
    {
        "oneOf": [
            {
                "type": "object",
                "properties": {"features": {"type": "array", "items": {}}},
                "required": ["features"],
            },
            {"type": "object", "additionalProperties": True},
        ],
        "example": {"features": [5.1, 3.5, 1.4, 0.2]},
    }
)
class InputDataField(serializers.Field):
    """`{"features": [...]}` in the signature's order, or an object by feature name.

    What is in it is the signature's to judge; the body's parser has seen that it can be stored.
    """

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError(
                'Must be an object, such as {"features": [5.1, 3.5]}.'
            )
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class CallersName(serializers.CharField):
    """What a caller names its rows by."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False, allow_null=True, max_length=MAX_CALLERS_NAME_LENGTH, **options
        )


class TargetRequest(StrictSerializer):
    """Who shall answer: a version by its id, or whatever a reference means now."""

    model_id = serializers.IntegerField(required=False, min_value=1, help_text="A version, by id.")
    model = serializers.CharField(
        required=False,
        max_length=MAX_REFERENCE_LENGTH,
        help_text="`name` for its champion, `name@alias` or `name:version`; instead of model_id.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("model_id" in attrs) == ("model" in attrs):
            message = "Give either model_id or model: one of them, not both."
            raise serializers.ValidationError({"model_id": [message]})
        return attrs


class PredictionRequest(TargetRequest):
    input_data = InputDataField()
    metadata = JSONObjectField(required=False, allow_null=True)
    subject = CallersName(help_text="Whom it is about: a canary gives one subject one version.")
    reference = CallersName(help_text="Your own name of this prediction, for outcomes.")

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """As DRF's, which is spared where there is nothing to find fault with."""
        return dict(data) if _is_plain(data) else super().run_validation(data)


def _is_plain(data: Any) -> bool:
    """Whether a request is what nearly all are: a target, an input, and perhaps names."""
    if not isinstance(data, dict) or not isinstance(data.get("input_data"), dict):
        return False
    for key, value in data.items():
        if key == "model_id":
            fits = type(value) is int and value > 0
        elif key in PLAIN_NAMES:
            # Letters and digits of ASCII, so that nothing needs to be trimmed or refused.
            fits = type(value) is str and bool(PLAIN_NAME.fullmatch(value))
        else:
            fits = key == "input_data"
        if not fits:
            return False
    return ("model_id" in data) != ("model" in data)


@extend_schema_field({"type": "array", "items": {"type": "object"}, "minItems": 1})
class InputsField(serializers.Field):
    """A list of `input_data`, at most MAX_BATCH_ROWS; the signature judges what is in them."""

    def to_internal_value(self, data: Any) -> Any:
        limit = settings.MAX_BATCH_ROWS
        if not isinstance(data, list) or not 0 < len(data) <= limit:
            raise serializers.ValidationError(f"Must be a list of 1 to {limit} inputs.")
        return data


class ReferencesField(serializers.ListField):
    """A name or null for each input; how many may be given is looked at before what they are."""

    child = CallersName()

    def to_internal_value(self, data: Any) -> Any:
        limit = settings.MAX_BATCH_ROWS
        if isinstance(data, list) and len(data) > limit:
            raise serializers.ValidationError(f"Must be a list of 1 to {limit} names.")
        return super().to_internal_value(data)


class BatchRequest(TargetRequest):
    inputs = InputsField()
    metadata = JSONObjectField(required=False, allow_null=True)
    subject = CallersName(help_text="Whom all of it is about: one version answers the batch.")
    references = ReferencesField(required=False, help_text="One an input, or null, in their order.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        references, inputs = attrs.get("references"), attrs["inputs"]
        if references is not None and len(references) != len(inputs):
            message = f"Must hold one for each of the {len(inputs)} inputs, not {len(references)}."
            raise serializers.ValidationError({"references": [message]})
        return super().validate(attrs)


class StreamQuery(TargetRequest):
    """The query parameters of a batch in NDJSON."""

    subject = CallersName()


class PredictionQuery(serializers.Serializer):
    """The filters of the list of predictions."""

    # SQLite's driver takes no larger integer.
    model_id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    status = serializers.ChoiceField(required=False, choices=Prediction.Status.choices)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)
    reference = serializers.CharField(required=False, max_length=MAX_CALLERS_NAME_LENGTH)


class ModelPredictionQuery(PredictionQuery):
    """The same below one version, whose id stands in the path."""

    # DRF's way to leave a field out.
    model_id = None  # type: ignore[assignment]


@extend_schema_field(OpenApiTypes.ANY)
class OutputField(serializers.JSONField):
    """Label and probabilities by class, or all outputs by name; null beside a plain number."""


class PredictionSerializer(serializers.ModelSerializer):
    """A prediction as a list shows it.

    The fields are there for the schema. A row is written by hand: DRF's loop over them cost a fifth
    of the time of a prediction.
    """

    model_id = serializers.IntegerField()
    model_name = serializers.CharField(source="model.name")
    model_version = serializers.CharField(source="model.version")
    output = OutputField(allow_null=True)
    metadata = JSONObjectField(allow_null=True)
    primary_id = serializers.IntegerField(
        allow_null=True, help_text="Of a shadow's row, the answered prediction."
    )

    class Meta:
        model = Prediction
        fields = [
            "id",
            "model_id",
            "model_name",
            "model_version",
            "prediction",
            "confidence",
            "output",
            "metadata",
            "status",
            "latency_ms",
            "request_id",
            "reference",
            "subject",
            "alias",
            "arm",
            "primary_id",
            "created_at",
        ]
        read_only_fields = fields

    def to_representation(self, row: Prediction | Record) -> dict[str, Any]:
        return {
            "id": row.pk,
            "model_id": row.model_id,
            "model_name": row.model.name,
            "model_version": row.model.version,
            "prediction": row.prediction,
            "confidence": row.confidence,
            "output": row.output,
            "metadata": row.metadata,
            "status": row.status,
            "latency_ms": row.latency_ms,
            "request_id": row.request_id,
            "reference": row.reference,
            "subject": row.subject,
            "alias": row.alias,
            "arm": row.arm,
            "primary_id": row.primary_id,
            "created_at": row.created_at,
        }


class PredictionDetailSerializer(PredictionSerializer):
    """A prediction with all that is known of it."""

    input_data = InputDataField()
    user = serializers.CharField(source="user.username", default=None)
    sha256 = serializers.CharField(source="model.sha256", help_text="The artifact's digest.")

    class Meta(PredictionSerializer.Meta):
        fields = [*PredictionSerializer.Meta.fields, "input_data", "error", "user", "sha256"]
        read_only_fields = fields

    def to_representation(self, row: Any) -> dict[str, Any]:
        return {
            **super().to_representation(row),
            "input_data": row.input_data,
            "error": row.error,
            "user": row.user.get_username() if row.user else None,
            "sha256": row.model.sha256,
        }


@extend_schema_serializer(many=False)
class ModelPredictionsSerializer(serializers.Serializer):
    """A version and a page of its predictions."""

    model = ModelVersionSerializer()
    predictions = PredictionSerializer(many=True)


class PastPrediction(StrictSerializer):
    """A prediction made elsewhere, as `import_predictions` reads it."""

    input_data = JSONValueField()
    prediction = serializers.FloatField(required=False, allow_null=True)
    confidence = serializers.FloatField(
        required=False, allow_null=True, min_value=0.0, max_value=1.0
    )
    output = JSONValueField(required=False, allow_null=True)
    metadata = JSONObjectField(required=False, allow_null=True)
    status = serializers.ChoiceField(required=False, choices=Prediction.Status.choices)
    error = serializers.CharField(required=False, allow_blank=True, max_length=2000)
    latency_ms = serializers.FloatField(required=False, allow_null=True, min_value=0.0)
    request_id = serializers.CharField(required=False, allow_blank=True, max_length=100)
    created_at = serializers.DateTimeField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        failed = attrs.get("status") == Prediction.Status.FAILED
        if failed != bool(attrs.get("error")):
            raise serializers.ValidationError(
                {"error": ["Belongs to a failed prediction, and to no other."]}
            )
        return attrs
