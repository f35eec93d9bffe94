"""The alias endpoints: /api/v1/aliases/."""

from typing import TypedDict

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import (
    HTTP_200_OK,
    HTTP_201_CREATED,
    HTTP_202_ACCEPTED,
    HTTP_204_NO_CONTENT,
)

from registry.access import rights
from registry.access.accessor import Accessor
from registry.access.viewsets import VisibleViewSet
from registry.aliases import moves
from registry.aliases.approvals import requests
from registry.aliases.approvals.serializers import RequestedMoveSerializer
from registry.aliases.moves import UNCHANGED
from registry.aliases.recording import Attribution
from registry.aliases.serializers import (
    AliasMoveSerializer,
    AliasPath,
    AliasQuery,
    AliasRequest,
    AliasSerializer,
    AliasTimeQuery,
    PastAliasSerializer,
    RollbackRequest,
)
from registry.models import Alias, AliasMove, AliasNotFound, RegisteredModel, Right
from registry.models import AliasRequest as AliasMoveRequest

CONFLICT: dict[int, None] = {409: None}


class AliasKey(TypedDict):
    name: str
    alias: str


class AliasViewSet(VisibleViewSet[Alias]):
    """List, read, move, roll back and remove aliases."""

    queryset = Alias.objects.with_versions().newest_first()
    serializer_class = AliasSerializer
    query_serializer_class = AliasQuery

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "at",
                OpenApiTypes.DATETIME,
                description="Return what was live at this time instead of now.",
            )
        ]
    )
    def retrieve(self, request: Request, name: str, alias: str) -> Response:
        """The current state of an alias, or its state at the time `at`."""
        key = _validated_key(name, alias)
        query = AliasTimeQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        if (at := query.validated_data.get("at")) is not None:
            moves_seen = rights.visible(AliasMove.objects.all(), Accessor.of(request))
            return Response(PastAliasSerializer(moves_seen.live_at(**key, at=at)).data)
        return self._respond(key)

    @extend_schema(
        request=AliasRequest,
        responses={
            200: AliasSerializer,
            201: AliasSerializer,
            202: RequestedMoveSerializer,
            **CONFLICT,
        },
    )
    def update(self, request: Request, name: str, alias: str) -> Response:
        """Point an alias at a version and set its canary and shadows, creating it if necessary."""
        key, accessor = _validated_key(name, alias), Accessor.of(request)
        rights.require(accessor, Right.MOVE_ALIASES, name)
        payload = AliasRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        if RegisteredModel.objects.needs_approval(name):
            reason = fields.pop("reason", "")
            return _accepted(
                requests.ask_to_set(**key, move=fields, reason=reason, accessor=accessor)
            )
        canary = fields.get("canary", UNCHANGED)
        _, is_new = moves.set_alias(
            **key,
            version=fields["version"],
            canary=(canary["version"], canary["percent"]) if isinstance(canary, dict) else canary,
            shadows=fields.get("shadows", UNCHANGED),
            force=fields["force"],
            require=fields.get("require"),
            attribution=Attribution.from_request(request, fields.get("reason", "")),
        )
        return self._respond(key, HTTP_201_CREATED if is_new else HTTP_200_OK)

    @extend_schema(
        responses={
            204: OpenApiResponse(description="Removed. Its history stays."),
            202: RequestedMoveSerializer,
            400: None,
            **CONFLICT,
        }
    )
    def destroy(self, request: Request, name: str, alias: str) -> Response:
        key, accessor = _validated_key(name, alias), Accessor.of(request)
        rights.require(accessor, Right.MOVE_ALIASES, name, permission="registry.delete_alias")
        if RegisteredModel.objects.needs_approval(name):
            return _accepted(requests.ask_to_remove(**key, accessor=accessor))
        moves.remove_alias(**key, attribution=Attribution.from_request(request))
        return Response(status=HTTP_204_NO_CONTENT)

    @extend_schema(
        request=RollbackRequest,
        responses={200: AliasSerializer, 202: RequestedMoveSerializer, **CONFLICT},
    )
    def rollback(self, request: Request, name: str, alias: str) -> Response:
        """Restore the previous version with its shadows, without a canary. Repeat to go further."""
        key, accessor = _validated_key(name, alias), Accessor.of(request)
        rights.require(accessor, Right.MOVE_ALIASES, name)
        payload = RollbackRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        reason = payload.validated_data.get("reason", "")
        if RegisteredModel.objects.needs_approval(name):
            return _accepted(requests.ask_to_roll_back(**key, reason=reason, accessor=accessor))
        moves.rollback(**key, attribution=Attribution.from_request(request, reason))
        return self._respond(key)

    def _respond(self, key: AliasKey, status: int = HTTP_200_OK) -> Response:
        rows = rights.visible(Alias.objects.with_versions(), Accessor.of(self.request))
        row = rows.find(**key)
        return Response(self.get_serializer(row).data, status=status)


class AliasMoveViewSet(VisibleViewSet[AliasMove]):
    """The history of an alias, newest first. It stays when the alias is removed."""

    queryset = AliasMove.objects.with_users().newest_first()
    serializer_class = AliasMoveSerializer

    def get_queryset(self) -> QuerySet[AliasMove]:
        key = _validated_key(**self.kwargs)
        return AliasMove.objects.with_users().of_alias(**key)

    def list(self, request: Request, name: str, alias: str) -> Response:
        response = super().list(request)
        if not response.data and not self.filter_queryset(self.get_queryset()).exists():
            raise AliasNotFound(f"Model {name}@{alias} not found: no such alias has ever existed")
        return response


def _accepted(request: AliasMoveRequest) -> Response:
    """The answer to a move that somebody else must approve first."""
    return Response(RequestedMoveSerializer(request).data, HTTP_202_ACCEPTED)


def _validated_key(name: str, alias: str) -> AliasKey:
    path = AliasPath(data={"name": name, "alias": alias})
    path.is_valid(raise_exception=True)
    return {"name": name, "alias": alias}
