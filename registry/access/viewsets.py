"""Lists that show their caller only the models that they may know of."""

from typing import Any, TypeVar

from django.db.models import Model
from rest_framework.mixins import ListModelMixin
from rest_framework.viewsets import GenericViewSet

from registry.access import rights
from registry.access.accessor import Accessor

Row = TypeVar("Row", bound=Model)


class VisibleViewSet(ListModelMixin, GenericViewSet[Row]):
    """The list of a table whose rows have the `name` of a model."""

    def filter_queryset(self, queryset: Any) -> Any:
        return super().filter_queryset(rights.visible(queryset, Accessor.of(self.request)))
