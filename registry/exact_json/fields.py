"""The column type of every JSON value that mlapi keeps."""

import json
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.json import KeyTransform
from django.forms.fields import InvalidJSONInput

from registry.exact_json.values import check_annotation, check_json


class ExactJSONFormField(forms.JSONField):
    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError as error:
            raise ValidationError("Is nested too deeply.", code="invalid") from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, InvalidJSONInput):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False)


class ExactJSONField(models.JSONField):
    """JSON that is read back as it was written.

    PostgreSQL's `jsonb` keeps numbers as decimals, so that 1e300 comes back as an integer of 301
    digits and -0.0 as 0. Its `json` keeps the text. It has no equality, so that rows can not be
    compared or made distinct by such a column; nothing here does.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "json" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        if value is None or hasattr(value, "as_sql"):
            return super().get_db_prep_value(value, connection, prepared)
        return orjson.dumps(value).decode()

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        # psycopg would parse a json column by itself, with floats for large integers.
        if compiler.connection.vendor == "postgresql":
            sql = f"{sql}::text"
        return super().select_format(compiler, sql, params)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None or isinstance(expression, KeyTransform):
            return super().from_db_value(value, expression, connection)
        return orjson.loads(value)

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        self._checked(check_json, value)

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": ExactJSONFormField, **kwargs})

    @staticmethod
    def _checked(check: Any, value: Any) -> None:
        try:
            check(value)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from error


class AnnotationField(ExactJSONField):
    """A JSON object that people or clients attach to a row: metrics, tags, metadata."""

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        self._checked(check_annotation, value)
        if value is not None and not isinstance(value, dict):
            raise ValidationError('Must be an object, such as {"accuracy": 0.97}.', code="invalid")
