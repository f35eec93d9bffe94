"""What the endpoint of a version's reference accepts and returns."""

from datetime import datetime
from typing import Any

import numpy as np
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from predictions.evaluation.drift.bins import NumberBins, VariableProfile
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.fields import BoundedDateTimeField, Fields
from predictions.models import Reference
from registry.exact_json.serializers import StrictSerializer, StrictTextField
from registry.exact_json.values import JSONObject

MAX_DESCRIPTION_LENGTH = 500
MAX_COLUMN_LENGTH = 200
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class ReferenceOfLog(StrictSerializer):
    """A window of the version's own predictions."""

    description = StrictTextField(
        required=False, allow_blank=True, max_length=MAX_DESCRIPTION_LENGTH
    )

    def get_fields(self) -> Fields:
        # `from` is a keyword in Python.
        return {
            "from": BoundedDateTimeField(help_text="Start of the window, inclusive."),
            "to": BoundedDateTimeField(
                help_text="End of the window, exclusive; not in the future."
            ),
            **super().get_fields(),
        }

    def validate(self, attrs: JSONObject) -> JSONObject:
        since: datetime = attrs.pop("from")
        until: datetime = attrs.pop("to")
        if since >= until:
            raise serializers.ValidationError({"from": ["Must be before `to`."]})
        return {**attrs, "since": since, "until": until}


@extend_schema_field(OpenApiTypes.BINARY)
class RowsField(serializers.FileField):
    """The file of a multipart form."""


class ReferenceFile(StrictSerializer):
    """A file of rows, which the version answers."""

    file = RowsField(help_text="Rows with the version's features: .parquet, .csv or .ndjson")
    label_column = serializers.CharField(
        required=False,
        max_length=MAX_COLUMN_LENGTH,
        help_text="The column with the true classes or values, if there is one.",
    )
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_DESCRIPTION_LENGTH
    )


class NumberSummarySerializer(serializers.Serializer[object]):
    """Null without a single number."""

    minimum = serializers.FloatField(allow_null=True)
    maximum = serializers.FloatField(allow_null=True)
    mean = serializers.FloatField(allow_null=True)
    sd = serializers.FloatField(allow_null=True, help_text="Standard deviation.")
    quantiles = serializers.DictField(
        child=serializers.FloatField(), help_text='By share, such as "0.5" for the median.'
    )


class CategorySummarySerializer(serializers.Serializer[object]):
    distinct = serializers.IntegerField()
    values = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Rows by category, of the most frequent ones.",
    )
    other = serializers.IntegerField(help_text="Rows of all other categories.")


class VariableSerializer(serializers.Serializer[object]):
    """Something that is compared, and what the reference had of it."""

    key = serializers.CharField(
        help_text="Such as input:age, input:review#words, prediction, confidence or latency."
    )
    kind = serializers.CharField(help_text="number or category")
    missing = serializers.IntegerField(help_text="Rows without a value.")
    numbers = NumberSummarySerializer(allow_null=True)
    categories = CategorySummarySerializer(allow_null=True)


class ReferenceSerializer(serializers.ModelSerializer[Reference]):
    """The reference of a version. Its inputs, and the hashes of its subjects, are not shown."""

    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )
    variables = serializers.SerializerMethodField()
    quality = serializers.SerializerMethodField(
        help_text="Measured on the rows that have a label; null without any."
    )
    notes = serializers.SerializerMethodField(help_text="Which features are not compared, and why.")

    class Meta:
        model = Reference
        fields = [
            "id",
            "model_id",
            "source",
            "description",
            "rows",
            "labelled_rows",
            "digest",
            "created_at",
            "created_by",
            "variables",
            "quality",
            "notes",
        ]

    def get_fields(self) -> Any:
        window = {
            "from": serializers.DateTimeField(
                source="since", read_only=True, allow_null=True, help_text="Of a window of the log."
            ),
            "to": serializers.DateTimeField(source="until", read_only=True, allow_null=True),
        }
        return super().get_fields() | window

    @extend_schema_field(VariableSerializer(many=True))
    def get_variables(self, row: Reference) -> list[JSONObject]:
        profile = Profile.from_json(row.profile)
        return [summary(key, bins) for key, bins in profile.variables.items()]

    @extend_schema_field({"type": "object", "nullable": True})
    def get_quality(self, row: Reference) -> Any:
        return row.profile["quality"]

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_notes(self, row: Reference) -> Any:
        return row.profile["notes"]


def summary(key: str, bins: VariableProfile) -> JSONObject:
    """What a profile says of a variable, in a few figures."""
    common = {"key": key, "kind": bins.kind, "missing": int(bins.counts[bins.missing])}
    if isinstance(bins, NumberBins):
        numbers = {
            "minimum": bins.minimum,
            "maximum": bins.maximum,
            "mean": bins.mean,
            "sd": bins.sd,
            "quantiles": quantiles_of(bins),
        }
        return {**common, "numbers": numbers, "categories": None}
    categories = {
        "distinct": bins.distinct,
        "values": dict(zip(bins.values, bins.counts.tolist(), strict=False)),
        "other": int(bins.counts[bins.other]),
    }
    return {**common, "numbers": None, "categories": categories}


def quantiles_of(bins: NumberBins) -> dict[str, float]:
    """Values of the reference, below or at which these shares of its numbers lie."""
    inner = bins.counts[1 : len(bins.edges) + 1]
    if not inner.sum():
        return {}
    shares = np.cumsum(inner) / inner.sum()
    # A share that is a sum of shares may be rounded below itself.
    places = np.searchsorted(shares + 1e-9, QUANTILES)
    return {
        f"{share:g}": float(bins.edges[min(place, len(bins.edges) - 1)])
        for share, place in zip(QUANTILES, places.tolist(), strict=True)
    }
