"""The endpoints of monitors and their reports: /api/v1/monitors/."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_204_NO_CONTENT
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.monitoring import changes
from predictions.evaluation.monitoring.serializers import (
    MonitorChanges,
    MonitorDetailSerializer,
    MonitorQuery,
    MonitorReportDetailSerializer,
    MonitorReportQuery,
    MonitorReportSerializer,
    MonitorRequest,
    MonitorSerializer,
)
from predictions.models import Monitor, MonitorReport
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import RegisteredModel, Right
from registry.pagination import KeysetPagination

MONITORS = Monitor.objects.select_related("registered_model", "created_by").newest_first()


class MonitorViewSet(ListModelMixin, GenericViewSet[Monitor]):
    """What compares the versions of a model with their references, window by window."""

    queryset = MONITORS
    serializer_class = MonitorSerializer
    query_serializer_class = MonitorQuery
    lookup_value_regex = "[0-9]{1,19}"

    def filter_queryset(self, queryset: Any) -> Any:
        rows: Any = super().filter_queryset(queryset)
        return rows.readable_by(Accessor.of(self.request))

    @extend_schema(
        request=MonitorRequest, responses={201: MonitorDetailSerializer, 404: None, 409: None}
    )
    def create(self, request: Request) -> Response:
        """Add a monitor; takes the right to manage the versions of the model."""
        payload = MonitorRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        accessor, name = Accessor.of(request), fields.pop("model")
        rights.require(accessor, Right.MANAGE_VERSIONS, name)
        monitor = changes.create(RegisteredModel.objects.find(name), accessor=accessor, **fields)
        return Response(MonitorDetailSerializer(monitor).data, status=HTTP_201_CREATED)

    @extend_schema(responses={200: MonitorDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        monitor = MONITORS.readable_by(Accessor.of(request)).find(int(pk))
        return Response(MonitorDetailSerializer(monitor).data)

    @extend_schema(request=MonitorChanges, responses={200: MonitorDetailSerializer, 409: None})
    def partial_update(self, request: Request, pk: str) -> Response:
        monitor = self._find_own(request, pk)
        payload = MonitorChanges(data=request.data, partial=True)
        payload.is_valid(raise_exception=True)
        changes.update(monitor, accessor=Accessor.of(request), **payload.validated_data)
        return Response(MonitorDetailSerializer(monitor).data)

    @extend_schema(
        responses={204: OpenApiResponse(description="Deleted, with its reports and alerts.")}
    )
    def destroy(self, request: Request, pk: str) -> Response:
        changes.delete(self._find_own(request, pk), accessor=Accessor.of(request))
        return Response(status=HTTP_204_NO_CONTENT)

    def _find_own(self, request: Request, pk: str) -> Monitor:
        """A monitor of a model whose versions the caller may manage."""
        accessor = Accessor.of(request)
        monitor = MONITORS.visible_to(accessor).find(int(pk))
        rights.require(accessor, Right.MANAGE_VERSIONS, monitor.registered_model.name)
        return monitor


class MonitorReportPagination(KeysetPagination):
    """Pages of reports by the end of their window."""

    time_field = "until"


class MonitorReportViewSet(ListModelMixin, GenericViewSet[MonitorReport]):
    """What a monitor found, newest window first."""

    queryset = MonitorReport.objects.select_related("model").newest_first()
    serializer_class = MonitorReportSerializer
    query_serializer_class = MonitorReportQuery
    pagination_class = MonitorReportPagination

    def get_queryset(self) -> QuerySet[MonitorReport]:
        # The findings of a page could have megabytes.
        rows = super().get_queryset().defer("findings")
        return rows.filter(monitor_id=int(self.kwargs["pk"]))

    @extend_schema(operation_id="monitors_reports_list")
    def list(self, request: Request, pk: str) -> Response:
        self._require_readable(request, pk)
        return super().list(request)

    @extend_schema(
        operation_id="monitors_reports_retrieve", responses={200: MonitorReportDetailSerializer}
    )
    def retrieve(self, request: Request, pk: str, report_id: str) -> Response:
        self._require_readable(request, pk)
        rows = MonitorReport.objects.select_related("model").filter(monitor_id=int(pk))
        return Response(MonitorReportDetailSerializer(rows.find(int(report_id))).data)

    def _require_readable(self, request: Request, pk: str) -> None:
        Monitor.objects.readable_by(Accessor.of(request)).find(int(pk))
