"""The endpoint of exports: /api/v1/exports/predictions/."""

from typing import Any, cast

from django.conf import settings
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from predictions.export.formats import FORMATS
from predictions.export.runner import plan_export
from predictions.export.serializers import OWN_PARAMETERS, ExportQuery
from predictions.export.streaming import ALL_ROWS, ExportStream
from predictions.models import Prediction
from predictions.reads import describe
from registry.access import audit
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.models import AuditEvent

POSITION_HEADER = "Export-Position"
# Transactions that write are short, except for imports and the like.
MAX_WAIT_SECONDS = 2.0


class ExportViewSet(GenericViewSet[Prediction]):
    """Download recorded predictions as one file."""

    queryset = Prediction.objects.all()
    query_serializer_class = ExportQuery
    pagination_class = None

    @extend_schema(
        operation_id="exports_predictions_retrieve",
        responses={
            **{(200, format.media_type): OpenApiTypes.BINARY for format in FORMATS.values()},
            400: None,
            503: None,
        },
    )
    def list(self, request: Request) -> StreamingHttpResponse:
        """Those that the caller may read, oldest first, with their inputs and latest outcomes.

        The header Export-Position says where a later export may go on (`from_position`). A response
        that breaks off is incomplete: large exports are for `manage.py export_predictions`, which
        can resume them. CSV and NDJSON are compressed if Accept-Encoding names zstd or gzip.
        """
        filters = self._read_query()
        own = {name: filters.pop(name, None) for name in OWN_PARAMETERS}
        accessor = Accessor.of(request)
        rows = Prediction.objects.readable_by(accessor).matching(**filters)
        plan = plan_export(
            rows,
            filter={name: str(value) for name, value in filters.items()},
            format=own["format"],
            inputs=own["inputs"],
            part_rows=ALL_ROWS,
            start=own["from_position"] or 0,
            mlapi=settings.VERSION,
            max_wait_seconds=MAX_WAIT_SECONDS,
        )
        stream = ExportStream(rows, plan)
        try:
            _record_export(accessor, plan.filter, own["format"])
        except BaseException:
            stream.close()
            raise
        loader.release_connection()
        format = FORMATS[own["format"]]
        return StreamingHttpResponse(
            stream,
            content_type=format.media_type,
            headers={
                "Content-Disposition": f'attachment; filename="predictions.{format.name}"',
                POSITION_HEADER: str(plan.positions.end),
            },
        )

    def _read_query(self) -> JSONObject:
        """The query parameters, validated as strictly as those of a list."""
        query = _Query()
        self.filter_queryset(cast(Any, query))
        return query.parameters


class _Query:
    """Takes the place of a queryset, and keeps the filters instead of applying them."""

    parameters: JSONObject

    def matching(self, **parameters: object) -> None:
        self.parameters = parameters


def _record_export(accessor: Accessor, filters: JSONObject, format: str) -> None:
    audit.record(
        AuditEvent.Action.EXPORTED,
        accessor,
        target="predictions",
        details={"format": format, "filters": describe(filters)},
    )
