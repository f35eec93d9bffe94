"""The query parameters that choose the time window of figures."""

from datetime import datetime, timedelta

from django.utils import timezone
from rest_framework import serializers

from predictions.evaluation.fields import BoundedDateTimeField, Fields
from registry.exact_json.values import JSONObject

# The shortest duration of each kind of bucket.
BUCKETS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=28),
}
MAX_BUCKETS = 1000


class WindowQuery(serializers.Serializer[object]):
    """A window from `from` (inclusive) to `to` (exclusive); by default the last `days` days."""

    days = 30

    def get_fields(self) -> Fields:
        # `from` is a keyword in Python.
        return {
            "from": BoundedDateTimeField(
                required=False,
                help_text="Start of the window, inclusive;"
                f" by default {self.days} days before its end.",
            ),
            "to": BoundedDateTimeField(
                required=False, help_text="End of the window, exclusive; now by default."
            ),
            **super().get_fields(),
        }

    def validate(self, attrs: JSONObject) -> JSONObject:
        until: datetime = attrs.pop("to", None) or timezone.now()
        since: datetime = attrs.pop("from", None) or until - timedelta(days=self.days)
        if since >= until:
            raise serializers.ValidationError({"from": ["Must be before `to`."]})
        return {**attrs, "since": since, "until": until}


class QualityQuery(WindowQuery):
    bucket = serializers.ChoiceField(
        required=False,
        choices=list(BUCKETS),
        help_text="Adds figures by hour, day, week or month, in UTC.",
    )

    def validate(self, attrs: JSONObject) -> JSONObject:
        window = super().validate(attrs)
        bucket = window.get("bucket")
        if bucket and (window["until"] - window["since"]) / BUCKETS[bucket] > MAX_BUCKETS:
            message = (
                f"Makes more than {MAX_BUCKETS} buckets: choose longer buckets or a shorter window."
            )
            raise serializers.ValidationError({"bucket": [message]})
        return window


class ComparisonQuery(WindowQuery):
    days = 7
