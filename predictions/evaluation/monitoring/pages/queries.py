"""The query parameters of the pages of monitoring."""

from datetime import UTC, datetime, time, timedelta

from rest_framework import serializers

from predictions.evaluation.quality.windows import WindowQuery
from predictions.models import MAX_SEGMENT_LENGTH
from registry.exact_json.values import JSONObject

MAX_DAYS = 92
# Of a number: a hundred bins and four of its own; of a category: fifty and two.
MAX_BIN = 200


class MonitoringQuery(WindowQuery):
    """A window of whole hours: counts know no shorter times."""

    segment = serializers.CharField(required=False, default="", max_length=MAX_SEGMENT_LENGTH)

    def validate(self, attrs: JSONObject) -> JSONObject:
        window = super().validate(attrs)
        window["since"] = _hour(window["since"])
        window["until"] = _hour(window["until"] + timedelta(hours=1, microseconds=-1))
        if window["until"] - window["since"] > timedelta(days=MAX_DAYS):
            message = f"Must be at most {MAX_DAYS} days before `to`."
            raise serializers.ValidationError({"from": [message]})
        return window


class VariableQuery(MonitoringQuery):
    variable = serializers.CharField(max_length=300)


class RowsQuery(VariableQuery):
    """The rows in the bins `first` to `last` of the variable, from the newest before `before`."""

    first = serializers.IntegerField(min_value=0, max_value=MAX_BIN)
    last = serializers.IntegerField(min_value=0, max_value=MAX_BIN)
    before = serializers.RegexField(r"^\d{1,16}\.\d{1,18}$", required=False)

    def validate(self, attrs: JSONObject) -> JSONObject:
        window = super().validate(attrs)
        if window["first"] > window["last"]:
            raise serializers.ValidationError({"first": ["Must not be greater than `last`."]})
        return window


def day_of(moment: datetime) -> datetime:
    """When its day began, in UTC."""
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
