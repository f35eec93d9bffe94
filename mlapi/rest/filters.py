"""The query parameters of lists: declared by the view, and strict."""

from collections.abc import Set
from typing import Any, Protocol, TypeVar, runtime_checkable

from django.db.models import Model, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

ModelT = TypeVar("ModelT", bound=Model)
Row = TypeVar("Row")


@runtime_checkable
class Filterable(Protocol):
    """A queryset that a list can be filtered on."""

    def matching(self, **filters: object) -> QuerySet[Any, Any]: ...


class StrictFilterBackend(BaseFilterBackend):
    """Filters by the view's `query_serializer_class`, through its queryset's `matching()`.

    A parameter that is unknown, repeated or invalid is a 400 that names it. Ignoring it would
    return rows that the caller did not ask for.
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[ModelT, Row], view: APIView
    ) -> QuerySet[ModelT, Row]:
        if getattr(view, "action", "list") != "list":
            return queryset
        serializer_class = _serializer_class(view)
        names = serializer_class().fields.keys() if serializer_class else frozenset()
        values = _single_values(request, names | _paginator_parameters(view))
        if serializer_class is None:
            return queryset
        # A plain dict: DRF reads a boolean that is missing from a QueryDict as false.
        serializer = serializer_class(data={name: values[name] for name in names & values.keys()})
        serializer.is_valid(raise_exception=True)
        assert isinstance(queryset, Filterable)
        return queryset.matching(**serializer.validated_data)

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, object]]:
        serializer_class = _serializer_class(view)
        if serializer_class is None:
            return []
        # Any: drf-spectacular cannot be imported here, because DRF's views import this module.
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


def _serializer_class(view: APIView) -> type[Serializer[object]] | None:
    return getattr(view, "query_serializer_class", None)


def _paginator_parameters(view: APIView) -> frozenset[str]:
    return getattr(getattr(view, "paginator", None), "parameter_names", frozenset())


def _single_values(request: Request, known: Set[str]) -> dict[str, str]:
    """The value of each parameter; raises ValidationError for unknown and repeated ones."""
    errors: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            errors[name] = ["Unknown parameter."]
        elif len(values) != 1:
            errors[name] = ["Send this parameter only once."]
        else:
            single[name] = values[0]
    if errors:
        raise ValidationError(errors)
    return single
