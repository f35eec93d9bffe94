"""Outcome reports, from the API or a file, parsed and validated one by one.

Plain functions instead of a serializer: one request may hold ten thousand reports.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rest_framework import serializers

from predictions.evaluation.fields import BoundedDateTimeField
from predictions.models import MAX_CALLERS_NAME_LENGTH, MAX_OUTCOME_VALUE
from registry.pagination import MAX_ID
from registry.signatures.signature import ClassLabel

FIELDS = frozenset({"prediction_id", "reference", "value", "label", "observed_at"})
OBSERVED_AT = BoundedDateTimeField()


class InvalidReport(ValueError):
    """A report is invalid: its `field`, or the whole report if `field` is empty."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Report:
    """The true value or label of one prediction, or of all predictions with one reference.

    `observed_at` None means now.
    """

    prediction_id: int | None
    reference: str | None
    value: float | None
    label: ClassLabel | None
    observed_at: datetime | None

    @property
    def target_field(self) -> str:
        """The field that identifies the predictions."""
        return "reference" if self.prediction_id is None else "prediction_id"


def parse_report(data: object) -> Report:
    """A report from JSON; a null field counts as missing. Raises InvalidReport."""
    if not isinstance(data, Mapping):
        raise InvalidReport("", 'Must be an object, such as {"reference": "a-1", "value": 2.5}.')
    fields = {name: value for name, value in data.items() if value is not None}
    for name in fields.keys() - FIELDS:
        raise InvalidReport(name, "Unknown field.")
    _require_either(fields, "prediction_id", "reference")
    _require_either(fields, "value", "label")
    return Report(
        _prediction_id(fields.get("prediction_id")),
        _reference(fields.get("reference")),
        _value(fields.get("value")),
        _label(fields.get("label")),
        _observed_at(fields.get("observed_at")),
    )


def _require_either(fields: Mapping[str, object], first: str, second: str) -> None:
    if (first in fields) == (second in fields):
        raise InvalidReport(first, f"Give exactly one of {first} and {second}.")


def _prediction_id(value: object) -> int | None:
    # bool is a subclass of int.
    if value is None or (isinstance(value, int) and type(value) is int and 0 < value <= MAX_ID):
        return value
    raise InvalidReport("prediction_id", "Must be the ID of a prediction, a positive integer.")


def _reference(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value) <= MAX_CALLERS_NAME_LENGTH and "\0" not in value:
        return value
    message = f"Must be a string of 1 to {MAX_CALLERS_NAME_LENGTH} characters."
    raise InvalidReport("reference", message)


def _value(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidReport("value", "Must be a number.")
    if not math.isfinite(value) or abs(value) > MAX_OUTCOME_VALUE:
        message = f"Must be between -{MAX_OUTCOME_VALUE} and {MAX_OUTCOME_VALUE}."
        raise InvalidReport("value", message)
    return float(value)


def _label(value: object) -> ClassLabel | None:
    if value is None or isinstance(value, str | int | float):
        return value
    raise InvalidReport("label", "Must be a string, a number, true or false.")


def _observed_at(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment: datetime = OBSERVED_AT.run_validation(value)
    except serializers.ValidationError as error:
        raise InvalidReport("observed_at", " ".join(map(str, error.detail))) from error
    return moment
