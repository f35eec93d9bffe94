"""The replay endpoints: /api/v1/replays/."""

from typing import Any, cast

from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.pagination import ReplayResultPagination
from predictions.evaluation.replays.report import with_originals
from predictions.evaluation.replays.rights import plan_for
from predictions.evaluation.replays.serializers import (
    ReplayDetailSerializer,
    ReplayQuery,
    ReplayRequest,
    ReplayResultQuery,
    ReplayResultSerializer,
    ReplaySerializer,
)
from predictions.models import Replay, ReplayResult
from predictions.reads import audit_page
from registry.access.accessor import Accessor


class ReplayViewSet(ListModelMixin, GenericViewSet[Replay]):
    """Score the recorded inputs of one version with another, and compare the answers."""

    queryset = Replay.objects.with_versions().newest_first()
    serializer_class = ReplaySerializer
    query_serializer_class = ReplayQuery
    lookup_value_regex = "[0-9]{1,19}"

    def filter_queryset(self, queryset: Any) -> Any:
        rows: Any = super().filter_queryset(queryset)
        return rows.readable_by(Accessor.of(self.request))

    @extend_schema(
        request=ReplayRequest, responses={201: ReplayDetailSerializer, 404: None, 409: None}
    )
    def create(self, request: Request) -> Response:
        """Replay a small number of predictions while the caller waits.

        The setting MAX_REPLAY_ROWS limits their number; a job of kind `replay` has no limit. The
        caller must be allowed to read the log of the one model and to request predictions of the
        other, or manage its versions.
        """
        accessor = Accessor.of(request)
        payload = ReplayRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        plan = plan_for(accessor, payload.validated_data)
        replay = runner.run_now(plan, created_by=cast(User, request.user))
        return Response(ReplayDetailSerializer(replay).data, status=HTTP_201_CREATED)

    @extend_schema(responses={200: ReplayDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        rows = Replay.objects.with_versions().readable_by(Accessor.of(request))
        return Response(ReplayDetailSerializer(rows.find(int(pk))).data)


class ReplayResultViewSet(GenericViewSet[ReplayResult]):
    """The rows of one replay, with the recorded and the new answer side by side."""

    queryset = with_originals(ReplayResult.objects.all())
    serializer_class = ReplayResultSerializer
    query_serializer_class = ReplayResultQuery
    pagination_class = ReplayResultPagination

    @extend_schema(operation_id="replays_results_list")
    def list(self, request: Request, pk: str) -> Response:
        replay = Replay.objects.only("pk").readable_by(Accessor.of(request)).find(int(pk))
        rows = self.filter_queryset(self.get_queryset().filter(replay=replay))
        page = self.paginate_queryset(rows) or []
        originals = [row.original for row in page]
        audit_page(request, originals, target=f"results of replay {replay.pk}")
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
