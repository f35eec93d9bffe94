"""Fields that the requests of outcomes, quality and replays share."""

from datetime import UTC, datetime
from typing import Any, TypeAlias

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.exact_json.values import JSONObject

# Later or earlier times would overflow in some time zone.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

LABEL_SCHEMA: JSONObject = {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}

# What `Serializer.get_fields` returns.
Fields: TypeAlias = dict[str, serializers.Field[Any, Any, Any, Any]]


class BoundedDateTimeField(serializers.DateTimeField):
    """An ISO 8601 time from 1970 to 2199; without a time zone it is UTC."""

    def to_internal_value(self, value: datetime | str) -> datetime:
        moment = super().to_internal_value(value)
        if not EARLIEST <= moment < LATEST:
            raise serializers.ValidationError("Must lie between the years 1970 and 2199.")
        return moment.astimezone(UTC)


@extend_schema_field({**LABEL_SCHEMA, "nullable": True})
class LabelField(serializers.JSONField):
    """A class, with the type that the model version gives it.

    Serializers add it in `get_fields`: as an attribute it would hide `Field.label`.
    """
