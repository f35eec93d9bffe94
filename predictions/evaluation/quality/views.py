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
from registry.access import rights
from registry.access.accessor import Accessor
from registry.aliases.serializers import AliasPath
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelVersion, Right
from registry.views import find_visible


class WindowViewSet(GenericViewSet[Any]):
    """Answers with figures of a time window instead of a list of rows."""

    pagination_class = None

    def read_window(self) -> JSONObject:
        """The query parameters, validated as strictly as those of a list."""
        recorder = FilterRecorder()
        self.filter_queryset(cast(Any, recorder))
        return recorder.filters


class FilterRecorder:
    """Takes the alias_path of a queryset, and keeps the filters instead of applying them."""

    filters: JSONObject

    def matching(self, **filters: object) -> None:
        self.filters = filters


class ModelQualityViewSet(WindowViewSet):
    """The quality of a version on the predictions whose outcome is known."""

    queryset = ModelVersion.objects.all()
    serializer_class = QualitySerializer
    query_serializer_class = QualityQuery

    @extend_schema(
        operation_id="models_quality_retrieve", responses={200: QualitySerializer, 409: None}
    )
    def list(self, request: Request, pk: str) -> Response:
        """Figures of the predictions made in a window, shadow rows included, by their outcomes."""
        accessor, window = Accessor.of(request), self.read_window()
        version = find_visible(int(pk), accessor)
        # The figures are of everybody's predictions.
        rights.require(accessor, Right.READ_LOG, version.name)
        return Response(quality_of(version, **window))


class AliasComparisonViewSet(WindowViewSet):
    """The versions of an alias, side by side."""

    queryset = Alias.objects.all()
    serializer_class = ComparisonSerializer
    query_serializer_class = ComparisonQuery

    @extend_schema(
        operation_id="aliases_comparison_retrieve", responses={200: ComparisonSerializer}
    )
    def list(self, request: Request, name: str, alias: str) -> Response:
        """What champion, canary and shadows answered in a window, with 95 % intervals."""
        alias_path = AliasPath(data={"name": name, "alias": alias})
        alias_path.is_valid(raise_exception=True)
        accessor, window = Accessor.of(request), self.read_window()
        rights.visible(Alias.objects.all(), accessor).find(name, alias)
        rights.require(accessor, Right.READ_LOG, name)
        return Response(compare_arms(**alias_path.validated_data, **window))
