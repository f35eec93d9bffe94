"""The endpoint of outcomes: /api/v1/outcomes/."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.outcomes.pagination import OutcomePagination
from predictions.evaluation.outcomes.recording import OutcomesRefused, record_outcomes
from predictions.evaluation.outcomes.serializers import (
    OUTCOMES_SCHEMA,
    OutcomeQuery,
    OutcomeSerializer,
    RecordedSerializer,
    parse_body,
)
from predictions.models import Outcome, PredictionNotFound
from predictions.reads import audit_page
from registry.access.accessor import Accessor


class OutcomeViewSet(GenericViewSet[Outcome]):
    """Report the outcomes of predictions, and list them."""

    queryset = Outcome.objects.listed().newest_first()
    serializer_class = OutcomeSerializer
    query_serializer_class = OutcomeQuery
    pagination_class = OutcomePagination

    def filter_queryset(self, queryset: Any) -> Any:
        rows: Any = super().filter_queryset(queryset)
        return rows.readable_by(Accessor.of(self.request))

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        audit_page(request, [row.prediction for row in page], target="outcomes")
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request={"application/json": OUTCOMES_SCHEMA},
        responses={201: RecordedSerializer, 200: RecordedSerializer, 404: None},
    )
    def create(self, request: Request) -> Response:
        """Record one outcome, or all outcomes of a list; if one is invalid, none is recorded.

        To correct an outcome, report another one: the one recorded last counts. Repeating a
        recorded outcome with the same time changes nothing; neither does repeating the latest one
        without a time. 201 means that something was written, 200 that everything had been recorded
        before.
        """
        reports, is_list = parse_body(request.data)
        try:
            counts = record_outcomes(reports, accessor=Accessor.of(request))
        except OutcomesRefused as error:
            if is_list:
                raise
            raise _single_error(error) from error
        status = HTTP_201_CREATED if counts.recorded else HTTP_200_OK
        return Response(RecordedSerializer(counts).data, status=status)


def _single_error(error: OutcomesRefused) -> Exception:
    """The error of a report outside a list: without an index, and 404 for an unknown prediction."""
    fault = error.faults[0]
    if fault.is_unknown:
        return PredictionNotFound(fault.message)
    return serializers.ValidationError({fault.field: [fault.message]})
