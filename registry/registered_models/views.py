"""The endpoints of registered models and their grants: /api/v1/registered-models/."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import (
    HTTP_200_OK,
    HTTP_201_CREATED,
    HTTP_202_ACCEPTED,
    HTTP_204_NO_CONTENT,
)
from rest_framework.viewsets import GenericViewSet

from registry.access import rights
from registry.access.accessor import Accessor
from registry.access.viewsets import VisibleViewSet
from registry.aliases.approvals import requests
from registry.aliases.approvals.serializers import RequestedMoveSerializer
from registry.models import Grant, RegisteredModel, Right
from registry.pagination import KeysetPagination
from registry.registered_models import changes
from registry.registered_models.grants import may_change, put_grant, remove_grant
from registry.registered_models.serializers import (
    GrantRequest,
    GrantSerializer,
    RegisteredModelChange,
    RegisteredModelDetailSerializer,
    RegisteredModelQuery,
    RegisteredModelRequest,
    RegisteredModelSerializer,
)

NAME = "[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"


def _find(name: str, accessor: Accessor) -> RegisteredModel:
    """Raises ModelNotFound, also if the accessor may not know of the model."""
    return rights.visible(RegisteredModel.objects.select_related("owner"), accessor).find(name)


class RegisteredModelViewSet(VisibleViewSet[RegisteredModel]):
    """What the versions and aliases of one name have in common: owner, rights, retention."""

    queryset = RegisteredModel.objects.select_related("owner").newest_first()
    serializer_class = RegisteredModelSerializer
    query_serializer_class = RegisteredModelQuery
    lookup_field = "name"
    lookup_value_regex = NAME

    @extend_schema(
        request=RegisteredModelRequest,
        responses={201: RegisteredModelDetailSerializer, 409: None},
    )
    def create(self, request: Request) -> Response:
        """Add a model before its first version; its owner is the caller, unless the body names
        another. The first version of a new name adds the model as well.
        """
        accessor = Accessor.of(request)
        permissions = ("registry.add_registeredmodel", "registry.add_modelversion")
        if not any(
            rights.holds_everywhere(accessor, Right.MANAGE_VERSIONS, permission)
            for permission in permissions
        ):
            raise PermissionDenied("You may not register new models.")
        payload = RegisteredModelRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        model = changes.create(accessor=accessor, **payload.validated_data)
        return self._respond(model, accessor, HTTP_201_CREATED)

    @extend_schema(responses={200: RegisteredModelDetailSerializer})
    def retrieve(self, request: Request, name: str) -> Response:
        accessor = Accessor.of(request)
        return self._respond(_find(name, accessor), accessor)

    @extend_schema(
        request=RegisteredModelChange,
        responses={
            200: RegisteredModelDetailSerializer,
            202: RequestedMoveSerializer,
            409: None,
        },
    )
    def partial_update(self, request: Request, name: str) -> Response:
        """Change fields; takes the right to manage versions, and for another owner every right.

        Ending the approval of moves must itself be approved: the response is 202, with the request
        for it.
        """
        accessor = Accessor.of(request)
        model = _find(name, accessor)
        _require_to_manage(accessor, name, "registry.change_registeredmodel")
        payload = RegisteredModelChange(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        if model.needs_approval and fields.get("needs_approval") is False:
            if len(fields) > 1:
                message = "Send it alone: somebody else must approve it."
                raise ValidationError({"needs_approval": [message]})
            waiting = requests.ask_to_end_approval(name=name, accessor=accessor)
            return Response(RequestedMoveSerializer(waiting).data, HTTP_202_ACCEPTED)
        return self._respond(changes.change(name=name, accessor=accessor, **fields), accessor)

    @extend_schema(
        responses={
            204: OpenApiResponse(description="Deleted, together with its grants."),
            409: None,
        }
    )
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a model that has no versions and no aliases."""
        accessor = Accessor.of(request)
        _find(name, accessor)
        _require_to_manage(accessor, name, "registry.delete_registeredmodel")
        changes.delete(name=name, accessor=accessor)
        return Response(status=HTTP_204_NO_CONTENT)

    def _respond(
        self, model: RegisteredModel, accessor: Accessor, status: int = HTTP_200_OK
    ) -> Response:
        data = RegisteredModelSerializer(model).data
        held = rights.held_on(accessor, model)
        return Response({**data, "rights": [right for right in Right if right in held]}, status)


def _require_to_manage(accessor: Accessor, name: str, permission: str) -> None:
    if not rights.has(accessor, Right.MANAGE_VERSIONS, name, permission=permission):
        rights.require(accessor, Right.MANAGE_VERSIONS, name)


class GrantPagination(KeysetPagination):
    """Grants are few, and have no time: the oldest first."""

    def sort(self, rows: Any) -> Any:
        return rows.order_by("id")

    def encode_cursor(self, row: object, rows: Any) -> str:
        assert isinstance(row, Grant)
        return str(row.pk)

    def rows_after(self, cursor: str, rows: Any) -> Any:
        if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
            raise ValidationError({"cursor": ["Must come from the Link header of this list."]})
        return rows.filter(pk__gt=int(cursor))


class GrantViewSet(ListModelMixin, GenericViewSet[Grant]):
    """The rights of users and groups on one model, for the people who manage its versions."""

    queryset = Grant.objects.select_related("user", "group")
    serializer_class = GrantSerializer
    pagination_class = GrantPagination

    def get_queryset(self) -> QuerySet[Grant]:
        model, _ = self._model_to_change()
        return self.queryset.filter(registered_model=model)

    @extend_schema(
        request=GrantRequest,
        responses={200: GrantSerializer, 201: GrantSerializer},
    )
    def update(self, request: Request, name: str) -> Response:
        """Give a user or a group exactly these rights, of those that the caller has."""
        model, accessor = self._model_to_change()
        payload = GrantRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        grant, is_new = put_grant(
            model=model,
            user=fields.get("user"),
            group=fields.get("group"),
            held={Right(right) for right in fields["rights"]},
            accessor=accessor,
        )
        status = HTTP_201_CREATED if is_new else HTTP_200_OK
        return Response(GrantSerializer(grant).data, status)

    @extend_schema(responses={204: OpenApiResponse(description="Removed.")})
    def destroy(self, request: Request, name: str, pk: str) -> Response:
        model, accessor = self._model_to_change()
        remove_grant(model=model, grant_id=int(pk), accessor=accessor)
        return Response(status=HTTP_204_NO_CONTENT)

    def _model_to_change(self) -> tuple[RegisteredModel, Accessor]:
        """Raises ModelNotFound or PermissionDenied."""
        accessor = Accessor.of(self.request)
        model = _find(self.kwargs["name"], accessor)
        if accessor.key is not None or not may_change(accessor, model):
            # Not by a key: a key that leaks must not be able to give others lasting access.
            raise PermissionDenied(f"You may not change the rights on model {model.name}.")
        return model, accessor
