"""The API key endpoints: /api/v1/api-keys/."""

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from registry.access import rights
from registry.access.accessor import Accessor
from registry.access.keys import changes
from registry.access.keys.control import require_control
from registry.access.keys.serializers import (
    ApiKeyQuery,
    ApiKeyRequest,
    ApiKeySerializer,
    NewApiKeySerializer,
    RotationRequest,
    expiry_after,
)
from registry.models import ApiKey, RegisteredModel
from registry.models.access import ApiKeyQuerySet

KEYS = ApiKey.objects.with_details().newest_first()


class IsPerson(BasePermission):
    """Refuses API keys: a key that leaks must not be able to make itself another one."""

    message = "API keys are managed by people: send an access token instead of a key."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return not isinstance(request.auth, ApiKey)


class ApiKeyViewSet(ListModelMixin, GenericViewSet[ApiKey]):
    """Make, list, rotate and revoke API keys: one's own, and with Django's permissions those of
    others.
    """

    queryset = KEYS
    serializer_class = ApiKeySerializer
    query_serializer_class = ApiKeyQuery
    permission_classes = [IsAuthenticated, IsPerson]
    lookup_value_regex = "[0-9]{1,19}"

    def get_queryset(self) -> ApiKeyQuerySet:
        user = self.request.user
        assert isinstance(user, User)
        return KEYS.all() if user.has_perm("registry.view_apikey") else KEYS.filter(owner=user)

    @extend_schema(
        request=ApiKeyRequest, responses={201: NewApiKeySerializer, 403: None, 409: None}
    )
    def create(self, request: Request) -> Response:
        """Make a key. The response is the only one that ever contains it."""
        payload = ApiKeyRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        accessor = Accessor.of(request)
        row, value = changes.create_key(
            name=fields["name"],
            owner=_find_owner(accessor, fields.get("owner")),
            scopes=fields["scopes"],
            models=_find_models(accessor, fields.get("models")),
            expires_at=expiry_after(fields.get("expires_in_days")),
            rate_limit=fields.get("rate_limit"),
            accessor=accessor,
        )
        return _respond_with_value(row, value)

    @extend_schema(responses={200: ApiKeySerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self._find(pk)).data)

    @extend_schema(
        request=RotationRequest, responses={201: NewApiKeySerializer, 403: None, 409: None}
    )
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Make a key with the same scopes, models and limit. The old one stays valid for
        `overlap_hours`.
        """
        payload = RotationRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        key, accessor = self._find(pk), Accessor.of(request)
        require_control(accessor, key.owner, "registry.change_apikey")
        overlap_hours = payload.validated_data["overlap_hours"]
        row, value = changes.rotate_key(
            key_id=key.pk, overlap_hours=overlap_hours, accessor=accessor
        )
        return _respond_with_value(row, value)

    @extend_schema(request=None, responses={200: ApiKeySerializer, 403: None})
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Revoke a key for ever: from the next request on, no process accepts it."""
        key, accessor = self._find(pk), Accessor.of(request)
        if key.owner != accessor.user and not self._may_change():
            raise PermissionDenied("You may not revoke the API keys of others.")
        changes.revoke_key(key_id=key.pk, accessor=accessor)
        return Response(self.get_serializer(self._find(pk)).data, status=HTTP_200_OK)

    def _may_change(self) -> bool:
        assert isinstance(self.request.user, User)
        return self.request.user.has_perm("registry.change_apikey")

    def _find(self, pk: str) -> ApiKey:
        return self.get_queryset().find(int(pk))


def _find_owner(accessor: Accessor, username: str | None) -> User:
    assert accessor.user is not None
    if username is None or username == accessor.user.get_username():
        return accessor.user
    if not accessor.user.has_perm("registry.add_apikey"):
        raise PermissionDenied("You may not make or rotate the API keys of others.")
    owner = User.objects.filter(username=username, is_active=True).first()
    if owner is None:
        raise ValidationError({"owner": [f"There is no active user {username}."]})
    require_control(accessor, owner, "registry.add_apikey")
    return owner


def _find_models(accessor: Accessor, names: Sequence[str] | None) -> list[RegisteredModel] | None:
    if names is None:
        return None
    rows = {row.name: row for row in rights.visible_models(accessor).filter(name__in=names)}
    errors = [f"There is no model {name}." for name in names if name not in rows]
    if errors:
        raise ValidationError({"models": errors})
    return list(rows.values())


def _respond_with_value(row: ApiKey, value: str) -> Response:
    serializer = NewApiKeySerializer(row, context={"value": value})
    # No proxy or browser may keep the value.
    return Response(serializer.data, status=HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
