"""The alias endpoints: /api/v1/aliases/."""

from typing import Any, cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT
from rest_framework.viewsets import GenericViewSet

from registry.aliases import moves
from registry.aliases.moves import KEPT, Cause
from registry.aliases.serializers import (
    AliasMoveSerializer,
    AliasPlace,
    AliasQuery,
    AliasRequest,
    AliasSerializer,
    AliasTimeQuery,
    PastAliasSerializer,
    RollbackRequest,
)
from registry.models import Alias, AliasMove, AliasNotFound

CONFLICT: dict[int, Any] = {409: None}


class AliasPermissions(DjangoModelPermissions):
    """As for every model, but that a POST rolls back, which is a change."""

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "POST": DjangoModelPermissions.perms_map["PUT"],
    }


class AliasViewSet(ListModelMixin, GenericViewSet[Alias]):
    """What each name means: list, look at, move, roll back and remove aliases."""

    queryset = Alias.objects.listed().newest_first()
    serializer_class = AliasSerializer
    query_serializer_class = AliasQuery
    permission_classes = [AliasPermissions]

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "at", OpenApiTypes.DATETIME, description="What was live then, instead of now."
            )
        ]
    )
    def retrieve(self, request: Request, name: str, alias: str) -> Response:
        """An alias as it is, or with `at` as it was then."""
        place = _place(name, alias)
        query = AliasTimeQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        if (at := query.validated_data.get("at")) is not None:
            return Response(PastAliasSerializer(AliasMove.objects.live_at(**place, at=at)).data)
        return self._answer(place)

    @extend_schema(
        request=AliasRequest, responses={200: AliasSerializer, 201: AliasSerializer, **CONFLICT}
    )
    def update(self, request: Request, name: str, alias: str) -> Response:
        """Point an alias at a version, and set its canary and shadows; it is made if need be."""
        place = _place(name, alias)
        payload = AliasRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        canary = fields.get("canary", KEPT)
        _, is_new = moves.set_alias(
            **place,
            version=fields["version"],
            canary=(canary["version"], canary["percent"]) if isinstance(canary, dict) else canary,
            shadows=fields.get("shadows", KEPT),
            force=fields["force"],
            require=fields.get("require"),
            cause=_cause(request, fields),
        )
        return self._answer(place, HTTP_201_CREATED if is_new else HTTP_200_OK)

    @extend_schema(responses={204: OpenApiResponse(description="Removed; its history stays.")})
    def destroy(self, request: Request, name: str, alias: str) -> Response:
        moves.remove_alias(**_place(name, alias), cause=_cause(request, {}))
        return Response(status=HTTP_204_NO_CONTENT)

    @extend_schema(request=RollbackRequest, responses={200: AliasSerializer, **CONFLICT})
    def rollback(self, request: Request, name: str, alias: str) -> Response:
        """Return to the version before, with its shadows and without a canary; again, further."""
        place = _place(name, alias)
        payload = RollbackRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        moves.rollback(**place, cause=_cause(request, payload.validated_data))
        return self._answer(place)

    def _answer(self, place: dict[str, str], status: int = HTTP_200_OK) -> Response:
        return Response(
            self.get_serializer(Alias.objects.listed().find(**place)).data, status=status
        )


class AliasMoveViewSet(ListModelMixin, GenericViewSet[AliasMove]):
    """The history of an alias, newest first; of one that was removed, too."""

    queryset = AliasMove.objects.select_related("user").newest_first()
    serializer_class = AliasMoveSerializer

    def get_queryset(self) -> QuerySet[AliasMove]:
        return AliasMove.objects.select_related("user").of(**_place(**self.kwargs))

    def list(self, request: Request, name: str, alias: str) -> Response:
        response = super().list(request)
        if not response.data and not self.get_queryset().exists():
            raise AliasNotFound(f"Model {name}@{alias} not found: there never was such an alias")
        return response


def _place(name: str, alias: str) -> dict[str, str]:
    place = AliasPlace(data={"name": name, "alias": alias})
    place.is_valid(raise_exception=True)
    return place.validated_data


def _cause(request: Request, fields: dict[str, Any]) -> Cause:
    return Cause(
        fields.get("reason", ""),
        cast(User, request.user),
        getattr(request, "request_id", ""),
    )
