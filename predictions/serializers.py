"""The request and response bodies of the prediction endpoints."""

from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from predictions.models import (
    MAX_CALLERS_NAME_LENGTH,
    MAX_ERROR_LENGTH,
    UNKNOWN,
    Outcome,
    Prediction,
)
from predictions.serving.limits.deadlines import HEADERS
from predictions.serving.records import Record
from registry.exact_json.serializers import JSONObjectField, JSONValueField, StrictSerializer
from registry.exact_json.values import JSONObject
from registry.models import MAX_TIMEOUT_SECONDS
from registry.serializers import ModelVersionSerializer

# A name of 100 characters, a separator, and an alias or a version of 50.
MAX_SPECIFIER_LENGTH = 151
# Of every route that scores.
TIMEOUT_PARAMETER = OpenApiParameter(
    HEADERS[0],
    {"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_SECONDS * 1000},
    OpenApiParameter.HEADER,
    description="Milliseconds within which to answer, if that is less than the version's limit.",
)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": True,
        "example": {"features": [5.1, 3.5, 1.4, 0.2]},
    }
)
class InputDataField(serializers.Field[object, object, object, object]):
    """`{"features": [...]}` in the signature's order, or an object by feature name.

    Only the shape is checked here: the version's signature validates the values, and the body's
    parser ensures that they can be stored.
    """

    def to_internal_value(self, data: object) -> JSONObject:
        if not isinstance(data, dict):
            raise serializers.ValidationError(
                'Must be an object, such as {"features": [5.1, 3.5]}.'
            )
        return data

    def to_representation(self, value: object) -> object:
        return value


class CallerTextField(serializers.CharField):
    """A subject or a reference: the caller's own ID for something."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False, allow_null=True, max_length=MAX_CALLERS_NAME_LENGTH, **options
        )


class TargetRequest(StrictSerializer):
    """The version that answers: by its id, or by a model specifier."""

    model_id = serializers.IntegerField(required=False, min_value=1, help_text="The version's id.")
    model = serializers.CharField(
        required=False,
        max_length=MAX_SPECIFIER_LENGTH,
        help_text="`name` for its champion, `name@alias` or `name:version`; instead of model_id.",
    )

    def validate(self, attrs: JSONObject) -> JSONObject:
        if ("model_id" in attrs) == ("model" in attrs):
            message = "Give exactly one of model_id and model."
            raise serializers.ValidationError({"model_id": [message]})
        return attrs


class PredictionRequest(TargetRequest):
    input_data = InputDataField()
    metadata = JSONObjectField(required=False, allow_null=True)
    subject = CallerTextField(
        help_text="Who or what the prediction is about. A canary keeps a subject on one version."
    )
    reference = CallerTextField(help_text="Your own ID for the prediction, used by outcomes.")


@extend_schema_field({"type": "array", "items": {"type": "object"}, "minItems": 1})
class InputsField(serializers.Field[object, object, object, object]):
    """A list of 1 to MAX_BATCH_ROWS `input_data`; the signature validates their values."""

    def to_internal_value(self, data: object) -> list[object]:
        limit = settings.MAX_BATCH_ROWS
        if not isinstance(data, list) or not 0 < len(data) <= limit:
            raise serializers.ValidationError(f"Must be a list of 1 to {limit} inputs.")
        return data


class ReferencesField(serializers.ListField):
    """A reference or null for each input. The length is checked before the items."""

    child = CallerTextField()

    def to_internal_value(self, data: Any) -> list[str | None]:
        limit = settings.MAX_BATCH_ROWS
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if len(data) > limit:
            raise serializers.ValidationError(f"Must be a list of 1 to {limit} references.")
        references: list[str | None] = super().to_internal_value(data)
        return references


class BatchRequest(TargetRequest):
    inputs = InputsField()
    metadata = JSONObjectField(required=False, allow_null=True)
    subject = CallerTextField(help_text="Who or what the whole batch is about.")
    references = ReferencesField(required=False, help_text="One for each input, or null.")

    def validate(self, attrs: JSONObject) -> JSONObject:
        references, inputs = attrs.get("references"), attrs["inputs"]
        if references is not None and len(references) != len(inputs):
            message = (
                f"Must have one entry for each of the {len(inputs)} inputs, not {len(references)}."
            )
            raise serializers.ValidationError({"references": [message]})
        return super().validate(attrs)


class StreamQuery(TargetRequest):
    """The query parameters of a batch in NDJSON."""

    subject = CallerTextField()


@extend_schema_field(OpenApiTypes.ANY)
class OutputField(serializers.JSONField):
    """Label and probabilities by class, or all outputs by name; null for a plain number."""


class PredictionSerializer(serializers.ModelSerializer[Prediction]):
    """A prediction as lists show it.

    The declared fields serve the OpenAPI document. Rows are serialised by hand: DRF's loop over the
    fields took a fifth of a prediction's time.
    """

    model_id = serializers.IntegerField()
    model_name = serializers.CharField(source="model.name")
    model_version = serializers.CharField(source="model.version")
    output = OutputField(allow_null=True)
    flags = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="The constraints that the input violates, such as `age:max`; null if none.",
    )
    metadata = JSONObjectField(allow_null=True)
    primary_id = serializers.IntegerField(
        allow_null=True, help_text="For a shadow's row: the answered prediction."
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
            "flags",
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

    def to_representation(self, row: Prediction | Record) -> JSONObject:
        return {
            "id": row.pk,
            "model_id": row.model_id,
            "model_name": row.model.name,
            "model_version": row.model.version,
            "prediction": row.prediction,
            "confidence": row.confidence,
            "output": row.output,
            "flags": row.flags,
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


class RecordedOutcomeSerializer(serializers.Serializer[Outcome]):
    """The outcome of a prediction that was recorded last, and counts."""

    value = serializers.FloatField(allow_null=True)
    observed_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # As an attribute it would hide `Field.label`.
        return {**super().get_fields(), "label": OutputField(allow_null=True)}

    def to_representation(self, row: Outcome) -> JSONObject:
        return {
            "value": row.value,
            "label": row.label,
            "observed_at": row.observed_at,
            "created_at": row.created_at,
        }


OUTCOME = RecordedOutcomeSerializer()


class ListedPredictionSerializer(PredictionSerializer):
    """A prediction in a list, with what `include` asks for."""

    input_data = InputDataField(required=False)
    outcome = RecordedOutcomeSerializer(required=False, allow_null=True)

    class Meta(PredictionSerializer.Meta):
        fields = [*PredictionSerializer.Meta.fields, "input_data", "outcome"]
        read_only_fields = fields

    def to_representation(self, row: Prediction | Record) -> JSONObject:
        assert isinstance(row, Prediction)
        document = super().to_representation(row)
        if "input_data" not in row.get_deferred_fields():
            document["input_data"] = row.input_data
        if row.latest_outcome is not UNKNOWN:
            document["outcome"] = _outcome(row)
        return document


class PredictionDetailSerializer(PredictionSerializer):
    """A prediction with everything that is recorded about it."""

    input_data = InputDataField()
    outcome = RecordedOutcomeSerializer(allow_null=True)
    user = serializers.CharField(source="user.username", default=None, allow_null=True)
    sha256 = serializers.CharField(
        source="model.sha256", allow_blank=True, help_text="Digest of the model file."
    )

    class Meta(PredictionSerializer.Meta):
        fields = [
            *PredictionSerializer.Meta.fields,
            "input_data",
            "error",
            "outcome",
            "user",
            "sha256",
        ]
        read_only_fields = fields

    def to_representation(self, row: Prediction | Record) -> JSONObject:
        assert isinstance(row, Prediction)
        return {
            **super().to_representation(row),
            "input_data": row.input_data,
            "error": row.error,
            "outcome": _outcome(row),
            "user": row.user.get_username() if row.user else None,
            "sha256": row.model.sha256,
        }


def _outcome(row: Prediction) -> JSONObject | None:
    outcome = row.latest_outcome
    return OUTCOME.to_representation(outcome) if isinstance(outcome, Outcome) else None


@extend_schema_serializer(many=False)
class ModelPredictionsSerializer(serializers.Serializer[Prediction]):
    """A version and a page of its predictions."""

    model = ModelVersionSerializer()
    predictions = ListedPredictionSerializer(many=True)


class PastPrediction(StrictSerializer):
    """A prediction that was made elsewhere, as `import_predictions` reads it."""

    input_data = JSONValueField()
    prediction = serializers.FloatField(required=False, allow_null=True)
    confidence = serializers.FloatField(
        required=False, allow_null=True, min_value=0.0, max_value=1.0
    )
    output = JSONValueField(required=False, allow_null=True)
    metadata = JSONObjectField(required=False, allow_null=True)
    status = serializers.ChoiceField(required=False, choices=Prediction.Status.choices)
    error = serializers.CharField(required=False, allow_blank=True, max_length=MAX_ERROR_LENGTH)
    latency_ms = serializers.FloatField(required=False, allow_null=True, min_value=0.0)
    request_id = serializers.CharField(required=False, allow_blank=True, max_length=100)
    created_at = serializers.DateTimeField(required=False)

    def validate(self, attrs: JSONObject) -> JSONObject:
        failed = attrs.get("status") == Prediction.Status.FAILED
        if failed != bool(attrs.get("error")):
            raise serializers.ValidationError(
                {"error": ["Required if status is failed, and not allowed otherwise."]}
            )
        return attrs
