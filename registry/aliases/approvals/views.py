"""The endpoints of requests to move an alias: /api/v1/alias-requests/."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from registry.access import rights
from registry.access.accessor import Accessor
from registry.access.viewsets import VisibleViewSet
from registry.aliases.approvals import requests
from registry.aliases.approvals.serializers import (
    AliasRequestQuery,
    DecisionRequest,
    RejectionRequest,
    RequestedMoveSerializer,
)
from registry.models import AliasRequest

ROWS = AliasRequest.objects.select_related("requested_by", "decided_by").newest_first()
RESPONSES = {200: RequestedMoveSerializer, 409: None}


class AliasRequestViewSet(VisibleViewSet[AliasRequest]):
    """Moves of aliases that wait for somebody else's approval, and those that were decided on."""

    queryset = ROWS
    serializer_class = RequestedMoveSerializer
    query_serializer_class = AliasRequestQuery
    lookup_value_regex = "[0-9]{1,19}"

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self._find(pk)).data)

    @extend_schema(request=DecisionRequest, responses=RESPONSES)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Make the move, if the alias has not been moved since; never of one's own request."""
        return self._decide(pk, requests.approve, DecisionRequest)

    @extend_schema(request=RejectionRequest, responses=RESPONSES)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Refuse the move, with a reason; never of one's own request, which can be withdrawn."""
        return self._decide(pk, requests.reject, RejectionRequest)

    @extend_schema(request=DecisionRequest, responses=RESPONSES)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take back one's own request."""
        return self._respond(requests.withdraw, self._find(pk), _reason(DecisionRequest, request))

    def _find(self, pk: str) -> AliasRequest:
        return rights.visible(ROWS, Accessor.of(self.request)).find(int(pk))

    def _decide(self, pk: str, decide: Any, serializer: type[Serializer[object]]) -> Response:
        row = self._find(pk)
        # Before the body is read: a caller who may not decide gets 403, whatever they send.
        requests.require_decider(row, Accessor.of(self.request))
        return self._respond(decide, row, _reason(serializer, self.request))

    def _respond(self, decide: Any, row: AliasRequest, reason: str) -> Response:
        decided = decide(request=row, reason=reason, accessor=Accessor.of(self.request))
        return Response(self.get_serializer(decided).data)


def _reason(serializer: type[Serializer[object]], request: Request) -> str:
    payload = serializer(data=request.data)
    payload.is_valid(raise_exception=True)
    return str(payload.validated_data.get("reason", ""))
