"""The responses of the quality and comparison endpoints, which return plain dicts."""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from predictions.evaluation.fields import Fields, LabelField


def _number(help_text: str = "") -> serializers.FloatField:
    return serializers.FloatField(allow_null=True, help_text=help_text)


def _interval() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.FloatField(), allow_null=True, help_text="95 % interval: [low, high]."
    )


class ClassificationFigures(serializers.Serializer[object]):
    accuracy = _number()
    accuracy_interval = _interval()
    f1_macro = _number("Mean over the classes that were predicted or occurred.")
    log_loss = _number("Over the rows with probabilities.")
    brier_score = _number(
        "Mean squared error of the probabilities, summed over classes; halved for two classes."
    )
    expected_calibration_error = _number()


class RegressionFigures(serializers.Serializer[object]):
    mae = _number()
    mae_interval = _interval()
    rmse = _number()
    rmse_interval = _interval()
    r2 = _number("Null if all outcomes are equal.")
    bias = _number("Mean of the predicted less the true value.")
    bias_interval = _interval()


class ClassFigures(serializers.Serializer[object]):
    precision = _number("Null if the class was never predicted.")
    recall = _number("Null if the class never occurred.")
    f1 = _number()
    support = serializers.IntegerField(help_text="Rows whose outcome is this class.")
    predicted = serializers.IntegerField(help_text="Rows predicted as this class.")

    def get_fields(self) -> Fields:
        return {"label": LabelField(), **super().get_fields()}


class CalibrationBin(serializers.Serializer[object]):
    low = serializers.FloatField()
    high = serializers.FloatField()
    rows = serializers.IntegerField()
    mean_confidence = _number()
    accuracy = _number()


class CountedFiguresSerializer(serializers.Serializer[object]):
    rows = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Rows on which the model failed; never scored.")
    with_outcome = serializers.IntegerField(help_text="Rows with a known outcome, failed or not.")
    scored = serializers.IntegerField(help_text="Rows that the figures cover.")
    coverage = _number("with_outcome / rows")
    classification = ClassificationFigures(allow_null=True)
    regression = RegressionFigures(allow_null=True)


class QualityBucketSerializer(CountedFiguresSerializer):
    start = serializers.DateTimeField()


@extend_schema_serializer(many=False)
class QualitySerializer(CountedFiguresSerializer):
    model_id = serializers.IntegerField()
    name = serializers.CharField()
    version = serializers.CharField()
    task = serializers.ChoiceField(choices=["classification", "regression"])
    to = serializers.DateTimeField()
    bucket = serializers.CharField(allow_null=True)
    classes = ClassFigures(many=True, allow_null=True)
    calibration = CalibrationBin(many=True, allow_null=True)
    buckets = QualityBucketSerializer(
        many=True, allow_null=True, help_text="Buckets that have rows; null without `bucket`."
    )

    def get_fields(self) -> Fields:
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class LatencySerializer(serializers.Serializer[object]):
    p50 = _number()
    p90 = _number()
    p99 = _number()


class AgreementSerializer(serializers.Serializer[object]):
    compared = serializers.IntegerField(
        help_text="Rows that both the shadow and its primary answered."
    )
    agreed = serializers.IntegerField(
        help_text="Rows with the same label, or the same value up to rounding; as in a replay."
    )
    share = _number()
    share_interval = _interval()


class DifferenceSerializer(serializers.Serializer[object]):
    of = serializers.ChoiceField(choices=["value", "confidence"])
    rows = serializers.IntegerField()
    mean = _number("Shadow less primary, row by row; or the canary's mean less the champion's.")
    mean_interval = _interval()


class ArmSerializer(CountedFiguresSerializer):
    model_id = serializers.IntegerField()
    version = serializers.CharField()
    arm = serializers.CharField(help_text="primary, canary or shadow")
    task = serializers.CharField(
        allow_null=True,
        help_text="Null without quality: the version has several outputs, or no file.",
    )
    failure_rate = _number()
    failure_rate_interval = _interval()
    latency_ms = LatencySerializer()
    agreement = AgreementSerializer(allow_null=True, help_text="For shadows.")
    difference = DifferenceSerializer(allow_null=True, help_text="For shadows and the canary.")


@extend_schema_serializer(many=False)
class ComparisonSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    alias = serializers.CharField()
    to = serializers.DateTimeField()
    canary_percent = serializers.FloatField(allow_null=True)
    champion = ArmSerializer()
    canary = ArmSerializer(allow_null=True)
    shadows = ArmSerializer(many=True)

    def get_fields(self) -> Fields:
        return {"from": serializers.DateTimeField(), **super().get_fields()}
