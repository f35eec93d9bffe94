"""Serializer classes for request bodies: unknown fields are errors, and JSON is kept exactly."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.exact_json.values import check_annotation, check_json


class StrictSerializer(serializers.Serializer[object]):
    """Rejects unknown fields, so that a misspelled one is not ignored silently."""

    def to_internal_value(self, data: Any) -> Any:
        if hasattr(data, "keys"):
            unknown = sorted(str(key) for key in data if key not in self.fields)
            if unknown:
                raise serializers.ValidationError({key: ["Unknown field."] for key in unknown})
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """true or false in JSON; DRF's own field also takes 0, "yes" and more."""

    def to_internal_value(self, data: object) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


class StrictTextField(serializers.CharField):
    """Text in JSON; DRF's own field also takes numbers."""

    def to_internal_value(self, data: str | float) -> str:
        if isinstance(data, int | float):
            raise serializers.ValidationError(f'Must be text, such as "{data}".')
        return super().to_internal_value(data)


class JSONValueField(serializers.JSONField):
    """Any JSON value that `check` accepts; in a multipart form, its text.

    `check` raises ValueError with a message for the caller.
    """

    check = staticmethod(check_json)

    def to_internal_value(self, data: Any) -> Any:
        try:
            value = super().to_internal_value(data)
            self.check(value)
        except RecursionError as error:
            raise serializers.ValidationError("Is nested too deeply.") from error
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error
        return value


@extend_schema_field(OpenApiTypes.OBJECT)
class JSONObjectField(JSONValueField):
    """A JSON object of bounded size: metrics, tags or metadata."""

    check = staticmethod(check_annotation)

    def to_internal_value(self, data: object) -> Any:
        value = super().to_internal_value(data)
        if value is None and self.allow_null:
            # The text `null` of a multipart form.
            return None
        if not isinstance(value, dict):
            raise serializers.ValidationError('Must be an object, such as {"accuracy": 0.97}.')
        return value
