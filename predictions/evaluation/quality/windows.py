"""Which stretch of time a figure is of, as its query parameters say it."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from predictions.evaluation.outcomes.reports import MomentField

# The shortest of each kind.
BUCKETS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=28),
}
MAX_BUCKETS = 1000


class WindowQuery(serializers.Serializer):
    """From `from` on and before `to`: without them now, and `days` before."""

    days = 30

    def get_fields(self) -> dict[str, Any]:
        # One of them is a keyword of Python's.
        return {
            "from": MomentField(
                required=False,
                help_text=f"Predictions made from then on; without it, {self.days} days before.",
            ),
            "to": MomentField(required=False, help_text="Predictions made before; now without it."),
            **super().get_fields(),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        until: datetime = attrs.pop("to", None) or timezone.now()
        since: datetime = attrs.pop("from", None) or until - timedelta(days=self.days)
        if since >= until:
            raise serializers.ValidationError({"from": ["Must be before `to`."]})
        return {**attrs, "since": since, "until": until}


class QualityQuery(WindowQuery):
    bucket = serializers.ChoiceField(
        required=False, choices=list(BUCKETS), help_text="Also by hour, day, week or month, in UTC."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        window = super().validate(attrs)
        bucket = window.get("bucket")
        if bucket and (window["until"] - window["since"]) / BUCKETS[bucket] > MAX_BUCKETS:
            message = f"Makes more than {MAX_BUCKETS} buckets: take longer ones, or less time."
            raise serializers.ValidationError({"bucket": [message]})
        return window


class ComparisonQuery(WindowQuery):
    days = 7
