"""What the endpoints of outcomes and quality take and answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from predictions.evaluation.outcomes.reports import MAX_ID, InvalidReport, Report, read_report
from predictions.models import MAX_CALLERS_NAME_LENGTH, MAX_OUTCOME_VALUE, Outcome
from registry.exact_json.serializers import StrictSerializer

MAX_OUTCOMES = 10_000
# Of reports that are no outcomes, as many as someone reads.
MAX_SHOWN = 20

REPORT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What was true of a prediction, or of all that were answered under a reference:"
    " a label of a classifier, a value of a regressor.",
    "properties": {
        "prediction_id": {"type": "integer", "minimum": 1},
        "reference": {"type": "string", "minLength": 1, "maxLength": MAX_CALLERS_NAME_LENGTH},
        "value": {
            "type": "number",
            "minimum": -MAX_OUTCOME_VALUE,
            "maximum": MAX_OUTCOME_VALUE,
        },
        "label": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
        "observed_at": {
            "type": "string",
            "format": "date-time",
            "description": "When it was seen; now, if left out.",
        },
    },
    "additionalProperties": False,
    "example": {"reference": "order-17", "label": "setosa"},
}
OUTCOMES_SCHEMA: dict[str, Any] = {
    "oneOf": [
        REPORT_SCHEMA,
        {
            "type": "object",
            "properties": {
                "outcomes": {
                    "type": "array",
                    "items": REPORT_SCHEMA,
                    "minItems": 1,
                    "maxItems": MAX_OUTCOMES,
                }
            },
            "required": ["outcomes"],
            "additionalProperties": False,
        },
    ]
}


def read_reports(data: Any) -> tuple[list[Report], bool]:
    """The reports of a body, and whether it was a list of them; raises ValidationError by path."""
    if not isinstance(data, dict) or "outcomes" not in data:
        try:
            return [read_report(data)], False
        except InvalidReport as error:
            raise serializers.ValidationError({_field(error): [str(error)]}) from error
    body = OutcomesBody(data=data)
    body.is_valid(raise_exception=True)
    reports: list[Report] = []
    errors: dict[str, list[str]] = {}
    for index, item in enumerate(body.validated_data["outcomes"]):
        try:
            reports.append(read_report(item))
        except InvalidReport as error:
            errors[f"outcomes[{index}].{error.field}".rstrip(".")] = [str(error)]
            if len(errors) == MAX_SHOWN:
                break
    if errors:
        raise serializers.ValidationError(errors)
    return reports, True


def _field(error: InvalidReport) -> str:
    return error.field or "non_field_errors"


class ReportsField(serializers.Field):
    """A list of reports, read one by one by `read_reports`."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list) or not 0 < len(data) <= MAX_OUTCOMES:
            raise serializers.ValidationError(f"Must be a list of 1 to {MAX_OUTCOMES} outcomes.")
        return data


class OutcomesBody(StrictSerializer):
    outcomes = ReportsField()


class RecordedSerializer(serializers.Serializer):
    """What a report of outcomes came to; one with a reference may be of several predictions."""

    recorded = serializers.IntegerField(help_text="Outcomes that were written.")
    unchanged = serializers.IntegerField(help_text="Outcomes that were there already.")


class OutcomeQuery(serializers.Serializer):
    """The filters of the list of outcomes."""

    prediction_id = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    reference = serializers.CharField(required=False, max_length=MAX_CALLERS_NAME_LENGTH)


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}], "nullable": True}
)
class LabelField(serializers.JSONField):
    """A class as its version names it."""


class OutcomeSerializer(serializers.ModelSerializer):
    prediction_id = serializers.IntegerField()
    reference = serializers.CharField(source="prediction.reference", allow_null=True)
    label = LabelField(allow_null=True)  # type: ignore[assignment]

    class Meta:
        model = Outcome
        fields = [
            "id",
            "prediction_id",
            "reference",
            "value",
            "label",
            "observed_at",
            "created_at",
        ]
        read_only_fields = fields


# -- quality: plain dicts are answered, these say what is in them


def _number(help_text: str = "") -> serializers.FloatField:
    return serializers.FloatField(allow_null=True, help_text=help_text)


def _interval() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.FloatField(), allow_null=True, help_text="At 95 %: [low, high]."
    )


class ClassificationFigures(serializers.Serializer):
    accuracy = _number()
    accuracy_interval = _interval()
    f1_macro = _number("The mean over classes that were predicted or occurred.")
    log_loss = _number("Over the rows that have probabilities, as the Brier score.")
    brier_score = _number("The mean over rows of summed squares; halved for two classes.")
    expected_calibration_error = _number()


class RegressionFigures(serializers.Serializer):
    mae = _number()
    mae_interval = _interval()
    rmse = _number()
    rmse_interval = _interval()
    r2 = _number("Null where the outcomes are all one.")
    bias = _number("The mean of predicted less true.")
    bias_interval = _interval()


class ClassFigures(serializers.Serializer):
    label = LabelField()  # type: ignore[assignment]
    precision = _number("Null where the class was never predicted.")
    recall = _number("Null where the class never occurred.")
    f1 = _number()
    support = serializers.IntegerField(help_text="Rows that were truly of it.")
    predicted = serializers.IntegerField(help_text="Rows that were classified as it.")


class CalibrationBin(serializers.Serializer):
    low = serializers.FloatField()
    high = serializers.FloatField()
    rows = serializers.IntegerField()
    mean_confidence = _number()
    accuracy = _number()


class CountedSerializer(serializers.Serializer):
    rows = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Rows without an answer: counted, never scored.")
    with_outcome = serializers.IntegerField(help_text="Rows whose outcome is known, failed or not.")
    scored = serializers.IntegerField(help_text="Rows that the figures are of.")
    coverage = _number("with_outcome / rows")
    classification = ClassificationFigures(allow_null=True)
    regression = RegressionFigures(allow_null=True)


class QualityBucketSerializer(CountedSerializer):
    start = serializers.DateTimeField()


@extend_schema_serializer(many=False)
class QualitySerializer(CountedSerializer):
    model_id = serializers.IntegerField()
    name = serializers.CharField()
    version = serializers.CharField()
    task = serializers.ChoiceField(choices=["classification", "regression"])
    to = serializers.DateTimeField()
    bucket = serializers.CharField(allow_null=True)
    classes = ClassFigures(many=True, allow_null=True)
    calibration = CalibrationBin(many=True, allow_null=True)
    buckets = QualityBucketSerializer(
        many=True, allow_null=True, help_text="Those with rows; null without `bucket`."
    )

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}


# -- comparison


class LatencySerializer(serializers.Serializer):
    p50 = _number()
    p90 = _number()
    p99 = _number()


class AgreementSerializer(serializers.Serializer):
    compared = serializers.IntegerField(help_text="Rows that it and its primary both answered.")
    agreed = serializers.IntegerField(
        help_text="The same label, or the same value but for rounding, as a replay counts it."
    )
    share = _number()
    share_interval = _interval()


class DifferenceSerializer(serializers.Serializer):
    of = serializers.ChoiceField(choices=["value", "confidence"])
    rows = serializers.IntegerField()
    mean = _number("A shadow less its primary, row by row; the canary's mean less the champion's.")
    mean_interval = _interval()


class ArmSerializer(CountedSerializer):
    model_id = serializers.IntegerField()
    version = serializers.CharField()
    arm = serializers.CharField(help_text="primary, canary or shadow")
    task = serializers.CharField(
        allow_null=True, help_text="Null where there is no quality: several outputs, or no file."
    )
    failure_rate = _number()
    failure_rate_interval = _interval()
    latency_ms = LatencySerializer()
    agreement = AgreementSerializer(allow_null=True, help_text="Of shadows.")
    difference = DifferenceSerializer(allow_null=True, help_text="Of shadows and the canary.")


@extend_schema_serializer(many=False)
class ComparisonSerializer(serializers.Serializer):
    name = serializers.CharField()
    alias = serializers.CharField()
    to = serializers.DateTimeField()
    canary_percent = serializers.FloatField(allow_null=True)
    champion = ArmSerializer()
    canary = ArmSerializer(allow_null=True)
    shadows = ArmSerializer(many=True)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}
