"""What is reported as an outcome, by the API or in a file, read and checked by itself.

By hand, not by a serializer: ten thousand of them are one request.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from rest_framework import serializers

from predictions.models import MAX_CALLERS_NAME_LENGTH, MAX_OUTCOME_VALUE
from registry.signatures.signature import ClassLabel

FIELDS = frozenset({"prediction_id", "reference", "value", "label", "observed_at"})
# Times outside would overflow in one zone or another.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# SQLite's driver takes no larger integer.
MAX_ID = 2**63 - 1


class MomentField(serializers.DateTimeField):
    """An ISO 8601 time from 1970 to 2199, in UTC where it names no zone."""

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if not EARLIEST <= moment < LATEST:
            raise serializers.ValidationError("Must lie between the years 1970 and 2199.")
        return moment.astimezone(UTC)


MOMENT = MomentField()


class InvalidReport(ValueError):
    """What is reported is no outcome; the message is of one field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Report:
    """A value or a label of one prediction or all of one reference; `observed_at` None is now."""

    prediction_id: int | None
    reference: str | None
    value: float | None
    label: ClassLabel | None
    observed_at: datetime | None

    @property
    def named_by(self) -> str:
        return "reference" if self.prediction_id is None else "prediction_id"


def read_report(data: Any) -> Report:
    """A report from JSON; fields that are null count as left out. Raises InvalidReport."""
    if not isinstance(data, Mapping):
        raise InvalidReport("", 'Must be an object, such as {"reference": "a-1", "value": 2.5}.')
    given = {name: value for name, value in data.items() if value is not None}
    for name in given.keys() - FIELDS:
        raise InvalidReport(name, "Unknown field.")
    _require_one(given, "prediction_id", "reference")
    _require_one(given, "value", "label")
    return Report(
        _prediction_id(given.get("prediction_id")),
        _reference(given.get("reference")),
        _value(given.get("value")),
        _label(given.get("label")),
        _observed_at(given.get("observed_at")),
    )


def _require_one(given: Mapping[str, Any], first: str, second: str) -> None:
    if (first in given) == (second in given):
        raise InvalidReport(first, f"Give either {first} or {second}.")


def _prediction_id(value: Any) -> int | None:
    if value is None or (type(value) is int and 0 < value <= MAX_ID):
        return value
    raise InvalidReport("prediction_id", "Must be a prediction's id.")


def _reference(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value) <= MAX_CALLERS_NAME_LENGTH and "\0" not in value:
        return value
    raise InvalidReport(
        "reference", f"Must be a text of 1 to {MAX_CALLERS_NAME_LENGTH} characters."
    )


def _value(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidReport("value", "Must be a number.")
    if not math.isfinite(value) or abs(value) > MAX_OUTCOME_VALUE:
        raise InvalidReport(
            "value", f"Must lie within -{MAX_OUTCOME_VALUE} and {MAX_OUTCOME_VALUE}."
        )
    return float(value)


def _label(value: Any) -> ClassLabel | None:
    if value is None or isinstance(value, str | int | float):
        return value
    raise InvalidReport("label", "Must be a text, a number, true or false.")


def _observed_at(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        return MOMENT.run_validation(value)
    except serializers.ValidationError as error:
        raise InvalidReport("observed_at", str(cast(Any, error.detail)[0])) from error
