"""The endpoints of what became of predictions: outcomes, quality, comparison."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.outcomes.recording import OutcomesRefused, record_outcomes
from predictions.evaluation.quality.comparison import compare
from predictions.evaluation.quality.serializers import (
    OUTCOMES_SCHEMA,
    ComparisonSerializer,
    OutcomeQuery,
    OutcomeSerializer,
    QualitySerializer,
    RecordedSerializer,
    read_reports,
)
from predictions.evaluation.quality.version_quality import quality_of
from predictions.evaluation.quality.windows import ComparisonQuery, QualityQuery
from predictions.models import Outcome, PredictionNotFound
from registry.aliases.serializers import AliasPlace
from registry.models import Alias, ModelVersion


class OutcomeViewSet(ListModelMixin, GenericViewSet[Outcome]):
    """Tell what was true of predictions, and look at what was told."""

    queryset = Outcome.objects.listed().newest_first()
    serializer_class = OutcomeSerializer
    query_serializer_class = OutcomeQuery

    @extend_schema(
        request={"application/json": OUTCOMES_SCHEMA},
        responses={201: RecordedSerializer, 200: RecordedSerializer, 404: None},
    )
    def create(self, request: Request) -> Response:
        """Record one outcome, or all of a list or none of it.

        A correction is a further outcome: the one recorded last counts. What is recorded already,
        with the same time, is left as it is; so is an outcome without a time that equals the one
        that counts. 201 means that something was written, 200 that all was there.
        """
        reports, is_many = read_reports(request.data)
        try:
            done = record_outcomes(reports, user_id=cast(int, request.user.pk))
        except OutcomesRefused as error:
            if is_many:
                raise
            raise _of_one(error) from error
        status = HTTP_201_CREATED if done.recorded else HTTP_200_OK
        return Response(RecordedSerializer(done).data, status=status)


def _of_one(error: OutcomesRefused) -> Exception:
    """The same without a place in a list; what names nothing is a 404 here."""
    fault = error.faults[0]
    if fault.is_unknown:
        return PredictionNotFound(fault.message)
    return serializers.ValidationError({fault.field: [fault.message]})


class ModelQualityViewSet(GenericViewSet[ModelVersion]):
    """How good a version was, as far as outcomes are known."""

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
        window: Any = self.filter_queryset(cast(Any, Asked()))
        return Response(quality_of(version, **window))


class AliasComparisonViewSet(GenericViewSet[Alias]):
    """The versions behind an alias, side by side."""

    queryset = Alias.objects.all()
    serializer_class = ComparisonSerializer
    query_serializer_class = ComparisonQuery
    pagination_class = None

    @extend_schema(
        operation_id="aliases_comparison_retrieve", responses={200: ComparisonSerializer}
    )
    def list(self, request: Request, name: str, alias: str) -> Response:
        """What champion, canary and shadows answered in a window, with intervals at 95 %."""
        place = AliasPlace(data={"name": name, "alias": alias})
        place.is_valid(raise_exception=True)
        window: Any = self.filter_queryset(cast(Any, Asked()))
        return Response(compare(**place.validated_data, **window))


class Asked:
    """Stands where a list has its queryset, and gives the filters back as they were asked."""

    def matching(self, **filters: Any) -> dict[str, Any]:
        return filters
