"""The response of the explanation endpoint."""

from collections.abc import Sequence
from typing import Any, get_args

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from predictions.evaluation.explanations.background import Background, Kind
from predictions.evaluation.explanations.explaining import Explanation, Method
from predictions.evaluation.explanations.verification import Part
from registry.exact_json.values import JSONObject
from registry.runtimes.contributions import Link


@extend_schema_field(OpenApiTypes.ANY)
class AnyField(serializers.JSONField):
    """A value of any type."""


class BackgroundSerializer(serializers.Serializer[Background]):
    """What the base is the mean of."""

    kind = serializers.ChoiceField(choices=get_args(Kind))
    reference_id = serializers.IntegerField(allow_null=True)
    rows = serializers.IntegerField(help_text="Of the reference; 0 if the model has its own.")


class ContributionSerializer(serializers.Serializer[Any]):
    """What one feature contributes."""

    feature = serializers.CharField()
    value = AnyField(allow_null=True, help_text="The recorded value.")
    contribution = serializers.FloatField()
    standard_error = serializers.FloatField(
        allow_null=True, help_text="Of a sampled contribution; null if it is exact."
    )


class PartSerializer(serializers.Serializer[Part]):
    """The explanation of one number of the answer."""

    output = serializers.CharField()
    base_value = serializers.FloatField()
    contributions = ContributionSerializer(many=True)
    sum = serializers.FloatField(help_text="The base value and all contributions.")
    explained = serializers.FloatField(help_text="The answer that the sum stands for, by the link.")
    recorded = serializers.FloatField(help_text="The same number in the log.")
    difference = serializers.FloatField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # As an attribute it would hide `Field.label`.
        label = AnyField(allow_null=True, help_text="The class, of a classifier.")
        return {**super().get_fields(), "label": label}


class ExplanationSerializer(serializers.Serializer[Explanation]):
    """An explanation of one prediction, whose contributions add up to its answer."""

    prediction_id = serializers.IntegerField()
    model_id = serializers.IntegerField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    sha256 = serializers.CharField(help_text="Digest of the model file.")
    method = serializers.ChoiceField(choices=get_args(Method))
    link = serializers.ChoiceField(choices=get_args(Link))
    background = BackgroundSerializer()
    outputs = PartSerializer(many=True)

    def to_representation(self, instance: Explanation) -> JSONObject:
        version = instance.prediction.model
        background = instance.background
        return {
            "prediction_id": instance.prediction.pk,
            "model_id": version.pk,
            "model_name": version.name,
            "model_version": version.version,
            "sha256": version.sha256,
            "method": instance.method,
            "link": instance.link,
            "background": {
                "kind": background.kind,
                "reference_id": background.reference_id,
                "rows": background.rows,
            },
            "outputs": [_part(instance, part) for part in instance.parts],
        }


def _part(explanation: Explanation, part: Part) -> JSONObject:
    errors: Sequence[float | None] = part.standard_errors or [None] * len(part.contributions)
    return {
        "output": part.output,
        "label": part.label,
        "base_value": part.base,
        "contributions": [
            {
                "feature": feature.name,
                "value": value,
                "contribution": contribution,
                "standard_error": error,
            }
            for feature, value, contribution, error in zip(
                explanation.features, explanation.values, part.contributions, errors, strict=True
            )
        ],
        "sum": part.total,
        "explained": part.explained,
        "recorded": part.recorded,
        "difference": part.difference,
    }
