"""The prediction endpoints: /api/v1/predictions/ and /api/v1/models/{id}/predictions/."""

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED
from rest_framework.viewsets import GenericViewSet

from predictions import services
from predictions.models import Prediction
from predictions.serializers import (
    ModelPredictionQuery,
    ModelPredictionsSerializer,
    PredictionDetailSerializer,
    PredictionQuery,
    PredictionRequest,
    PredictionSerializer,
)
from registry.models import ModelVersion
from registry.serializers import ModelVersionSerializer


class PredictionViewSet(ListModelMixin, GenericViewSet[Prediction]):
    """Ask a version for a prediction, and look at what was answered."""

    queryset = Prediction.objects.listed().newest_first()
    serializer_class = PredictionSerializer
    query_serializer_class = PredictionQuery
    lookup_value_regex = r"\d+"

    @extend_schema(request=PredictionRequest, responses={201: PredictionSerializer})
    def create(self, request: Request) -> Response:
        """Score one input. A 201 means that the record is committed."""
        payload = PredictionRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        prediction = services.predict(**payload.validated_data, caller=services.Caller.of(request))
        return Response(self.get_serializer(prediction).data, status=HTTP_201_CREATED)

    @extend_schema(responses={200: PredictionDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(PredictionDetailSerializer(Prediction.objects.find(int(pk))).data)


class ModelPredictionsView(GenericAPIView[Prediction]):
    """One version and its predictions, newest first, in two queries."""

    queryset = Prediction.objects.listed().newest_first()
    serializer_class = ModelPredictionsSerializer
    query_serializer_class = ModelPredictionQuery

    @extend_schema(operation_id="models_predictions_list")
    def get(self, request: Request, pk: str) -> Response:
        version = ModelVersion.objects.select_related("created_by").find(int(pk))
        rows = self.filter_queryset(self.get_queryset().matching(model_id=version.pk))
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(
            {
                "model": ModelVersionSerializer(version).data,
                "predictions": PredictionSerializer(page, many=True).data,
            }
        )
