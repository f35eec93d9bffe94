"""The endpoints of quality and comparison."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.quality.comparison import compare_arms
from predictions.evaluation.quality.serializers import ComparisonSerializer, QualitySerializer
from predictions.evaluation.quality.version_quality import quality_of
from predictions.evaluation.quality.windows import ComparisonQuery, QualityQuery
from registry.aliases.serializers import AliasPlace
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelVersion


class ModelQualityViewSet(GenericViewSet[ModelVersion]):
    """The quality of a version on the predictions whose outcome is known."""

    queryset = ModelVersion.objects.all()
    serializer_class = QualitySerializer
    query_serializer_class = QualityQuery
    pagination_class = None

    @extend_schema(
        operation_id="models_quality_retrieve", responses={200: QualitySerializer, 409: None}
    )
    def list(self, request: Request, pk: str) -> Response:
        """Figures of the predictions made in a window, shadow rows included, by their outcomes."""
        version = ModelVersion.objects.find(int(pk))
        window: JSONObject = self.filter_queryset(cast(Any, FilterValues()))
        return Response(quality_of(version, **window))


class AliasComparisonViewSet(GenericViewSet[Alias]):
    """The versions of an alias, side by side."""

    queryset = Alias.objects.all()
    serializer_class = ComparisonSerializer
    query_serializer_class = ComparisonQuery
    pagination_class = None

    @extend_schema(
        operation_id="aliases_comparison_retrieve", responses={200: ComparisonSerializer}
    )
    def list(self, request: Request, name: str, alias: str) -> Response:
        """What champion, canary and shadows answered in a window, with 95 % intervals."""
        place = AliasPlace(data={"name": name, "alias": alias})
        place.is_valid(raise_exception=True)
        window: JSONObject = self.filter_queryset(cast(Any, FilterValues()))
        return Response(compare_arms(**place.validated_data, **window))


class FilterValues:
    """Takes the place of a queryset and returns the validated query parameters."""

    def matching(self, **filters: object) -> JSONObject:
        return filters
