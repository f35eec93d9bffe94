"""The explanation endpoint: /api/v1/predictions/{id}/explanation/."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from predictions.evaluation.explanations.explaining import explain
from predictions.evaluation.explanations.serializers import ExplanationSerializer
from predictions.models import Prediction
from predictions.reads import audit_read
from predictions.serializers import TIMEOUT_PARAMETER
from predictions.serving.questions import Caller
from registry.access.accessor import Accessor


class ExplanationViewSet(ViewSet):
    """What each feature of an input contributed to its recorded answer."""

    @extend_schema(
        operation_id="predictions_explanation_retrieve",
        parameters=[TIMEOUT_PARAMETER],
        responses={200: ExplanationSerializer, **dict.fromkeys((400, 404, 409, 422, 503, 504))},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        """Explain one of the caller's own predictions, or of a model whose log they may read."""
        accessor = Accessor.of(request)
        row = Prediction.objects.readable_by(accessor).find(int(pk))
        audit_read(accessor, [row], target=f"explanation of prediction {pk}")
        limit = row.model.timeout_seconds or settings.PREDICTION_TIMEOUT_SECONDS
        explanation = explain(row, Caller.of(request).deadline(limit))
        return Response(ExplanationSerializer(explanation).data)
