"""The endpoints of alerts: /api/v1/alerts/."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.monitoring.alerts import changes
from predictions.evaluation.monitoring.alerts.serializers import AlertQuery, AlertSerializer
from predictions.models import Alert
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import Right
from registry.pagination import KeysetPagination

ALERTS = Alert.objects.select_related("monitor", "model", "acknowledged_by").newest_first()


class AlertPagination(KeysetPagination):
    """Pages of alerts by the time at which they were opened."""

    time_field = "opened_at"


class AlertViewSet(ListModelMixin, GenericViewSet[Alert]):
    """What monitors found in two of three windows, newest first."""

    queryset = ALERTS
    serializer_class = AlertSerializer
    query_serializer_class = AlertQuery
    pagination_class = AlertPagination
    lookup_value_regex = "[0-9]{1,19}"

    def filter_queryset(self, queryset: Any) -> Any:
        rows: Any = super().filter_queryset(queryset)
        return rows.readable_by(Accessor.of(self.request))

    def retrieve(self, request: Request, pk: str) -> Response:
        alert = ALERTS.readable_by(Accessor.of(request)).find(int(pk))
        return Response(self.get_serializer(alert).data)

    @extend_schema(request=None, responses={200: AlertSerializer, 409: None})
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that somebody is looking at it; takes the right to manage the model's versions, and
        to read its log, since the response has the finding.
        """
        accessor = Accessor.of(request)
        alert = ALERTS.visible_to(accessor).find(int(pk))
        for right in (Right.MANAGE_VERSIONS, Right.READ_LOG):
            rights.require(accessor, right, alert.model.name)
        changes.acknowledge(alert, accessor=accessor)
        return Response(self.get_serializer(alert).data)
