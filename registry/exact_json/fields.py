"""The column type of every JSON value that mlapi stores."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression
from django.db.models.fields.json import KeyTransform
from django.forms.fields import InvalidJSONInput

from registry.exact_json.values import check_annotation, check_json

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler, _AsSqlType, _ParamsT


class ExactJSONFormField(forms.JSONField):
    def to_python(self, value: object) -> Any:
        try:
            return super().to_python(value)
        except RecursionError as error:
            raise ValidationError("Is nested too deeply.", code="invalid") from error

    def bound_data(self, data: Any, initial: object) -> object:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, InvalidJSONInput):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False)


class ExactJSONField(models.JSONField):
    """JSON that is read back exactly as it was written.

    PostgreSQL's `jsonb` stores numbers as decimals, so that 1e300 comes back as an integer of 301
    digits and -0.0 as 0. Its `json` type stores the text, but cannot be compared: no query may use
    such a column in a comparison or in DISTINCT.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "json" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_value(
        self, value: object, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> object:
        if value is None or hasattr(value, "as_sql"):
            return super().get_db_prep_value(value, connection, prepared)
        return orjson.dumps(value).decode()

    def select_format(self, compiler: "SQLCompiler", sql: str, params: "_ParamsT") -> "_AsSqlType":
        # As text, because psycopg would parse json itself, with floats for large integers.
        if compiler.connection.vendor == "postgresql":
            sql = f"{sql}::text"
        return super().select_format(compiler, sql, params)

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> object:
        if value is None or isinstance(expression, KeyTransform):
            return super().from_db_value(value, expression, connection)
        return orjson.loads(value)

    def validate(self, value: object, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        _validate(check_json, value)

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return super().formfield(**{"form_class": ExactJSONFormField, **kwargs})


class AnnotationField(ExactJSONField):
    """A JSON object that people or clients attach to a row: metrics, tags, metadata."""

    def validate(self, value: object, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        _validate(check_annotation, value)
        if value is not None and not isinstance(value, dict):
            raise ValidationError('Must be an object, such as {"accuracy": 0.97}.', code="invalid")


def _validate(check: Callable[[object], None], value: object) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValidationError(str(error), code="invalid") from error
