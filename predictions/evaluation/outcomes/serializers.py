"""What the outcomes endpoint accepts and returns."""

from collections.abc import Sequence

from rest_framework import serializers

from predictions.evaluation.fields import LABEL_SCHEMA, Fields, LabelField
from predictions.evaluation.outcomes.recording import MAX_FAULTS, RecordedCounts
from predictions.evaluation.outcomes.reports import InvalidReport, Report, parse_report
from predictions.models import MAX_CALLERS_NAME_LENGTH, MAX_OUTCOME_VALUE, Outcome
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject
from registry.pagination import MAX_ID

MAX_OUTCOMES = 10_000

REPORT_SCHEMA: JSONObject = {
    "type": "object",
    "description": "The true label (of a classifier) or value (of a regressor) of a prediction, or"
    " of all predictions that were answered under a reference.",
    "properties": {
        "prediction_id": {"type": "integer", "minimum": 1},
        "reference": {"type": "string", "minLength": 1, "maxLength": MAX_CALLERS_NAME_LENGTH},
        "value": {
            "type": "number",
            "minimum": -MAX_OUTCOME_VALUE,
            "maximum": MAX_OUTCOME_VALUE,
        },
        "label": LABEL_SCHEMA,
        "observed_at": {
            "type": "string",
            "format": "date-time",
            "description": "When the outcome was observed; now by default.",
        },
    },
    "additionalProperties": False,
    "example": {"reference": "order-17", "label": "setosa"},
}
OUTCOMES_SCHEMA: JSONObject = {
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


def parse_body(data: object) -> tuple[list[Report], bool]:
    """The reports of a request body, and whether it was a list of them.

    Raises ValidationError with messages by path.
    """
    if not isinstance(data, dict) or "outcomes" not in data:
        try:
            return [parse_report(data)], False
        except InvalidReport as error:
            field = error.field or "non_field_errors"
            raise serializers.ValidationError({field: [str(error)]}) from error
    body = OutcomesBody(data=data)
    body.is_valid(raise_exception=True)
    return _parse_list(body.validated_data["outcomes"]), True


def _parse_list(items: Sequence[object]) -> list[Report]:
    reports: list[Report] = []
    errors: dict[str, list[str]] = {}
    for index, item in enumerate(items):
        try:
            reports.append(parse_report(item))
        except InvalidReport as error:
            errors[f"outcomes[{index}].{error.field}".rstrip(".")] = [str(error)]
            if len(errors) == MAX_FAULTS:
                break
    if errors:
        raise serializers.ValidationError(errors)
    return reports


class ReportsField(serializers.Field[list[object], object, object, object]):
    """A list of reports, which `parse_report` validates one by one."""

    def to_internal_value(self, data: object) -> list[object]:
        if not isinstance(data, list) or not 0 < len(data) <= MAX_OUTCOMES:
            raise serializers.ValidationError(f"Must be a list of 1 to {MAX_OUTCOMES} outcomes.")
        return data


class OutcomesBody(StrictSerializer):
    outcomes = ReportsField()


class RecordedSerializer(serializers.Serializer[RecordedCounts]):
    """How many outcomes were recorded. A report by reference may count for several predictions."""

    recorded = serializers.IntegerField(help_text="Outcomes that were written.")
    unchanged = serializers.IntegerField(help_text="Outcomes that had been recorded before.")


class OutcomeQuery(serializers.Serializer[object]):
    """The filters of the list of outcomes."""

    prediction_id = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    reference = serializers.CharField(required=False, max_length=MAX_CALLERS_NAME_LENGTH)


class OutcomeSerializer(serializers.ModelSerializer[Outcome]):
    prediction_id = serializers.IntegerField()
    reference = serializers.CharField(source="prediction.reference", allow_null=True)

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

    def get_fields(self) -> Fields:
        return {**super().get_fields(), "label": LabelField(allow_null=True)}
