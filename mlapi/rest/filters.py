"""The query parameters of a list: declared by its view, and strict."""

from collections.abc import Set
from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView


class StrictFilterBackend(BaseFilterBackend):
    """Filters by the view's `query_serializer_class`, through its queryset's `matching()`.

    A parameter that is unknown, repeated or does not parse is a 400 that names it: ignored, it
    would answer another question than the one that was asked.
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        if getattr(view, "action", "list") != "list":
            return queryset
        serializer_class = _serializer_class(view)
        own = serializer_class().fields.keys() if serializer_class else frozenset()
        values = _single_values(request, own | _paginator_parameters(view))
        if serializer_class is None:
            return queryset
        # A plain dict: from a QueryDict, DRF takes a missing boolean for false.
        serializer = serializer_class(data={name: values[name] for name in own & values.keys()})
        serializer.is_valid(raise_exception=True)
        return queryset.matching(**serializer.validated_data)  # type: ignore[attr-defined]

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        serializer_class = _serializer_class(view)
        if serializer_class is None:
            return []
        # Not named by its class: drf-spectacular imports DRF's views, which import this module.
        inspector: Any = view.schema
        return [
            {
                "name": name,
                "in": "query",
                "required": field.required,
                "description": str(field.help_text or ""),
                "schema": inspector._map_serializer_field(field, "request"),
            }
            for name, field in serializer_class().fields.items()
        ]


def _serializer_class(view: APIView) -> type[Serializer[Any]] | None:
    return getattr(view, "query_serializer_class", None)


def _paginator_parameters(view: APIView) -> frozenset[str]:
    return getattr(getattr(view, "paginator", None), "parameter_names", frozenset())


def _single_values(request: Request, known: Set[str]) -> dict[str, str]:
    errors: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for name, given in request.query_params.lists():
        if name not in known:
            errors[name] = ["Unknown parameter."]
        elif len(given) != 1:
            errors[name] = ["Given more than once."]
        else:
            values[name] = given[0]
    if errors:
        raise ValidationError(errors)
    return values
