"""The model endpoints: /api/v1/models/."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from registry import downloads, services
from registry.access import rights
from registry.access.accessor import Accessor
from registry.access.viewsets import VisibleViewSet
from registry.aliases import activation
from registry.aliases.recording import Attribution
from registry.models import ModelVersion, Right
from registry.serializers import (
    ArtifactRequest,
    ModelVersionChange,
    ModelVersionQuery,
    ModelVersionRequest,
    ModelVersionSerializer,
)

VERSIONS = ModelVersion.objects.select_related("created_by").newest_first()


class ModelVersionViewSet(RetrieveModelMixin, VisibleViewSet[ModelVersion]):
    """Register, read, change and delete model versions and their artifacts."""

    queryset = VERSIONS
    serializer_class = ModelVersionSerializer
    query_serializer_class = ModelVersionQuery
    lookup_value_regex = "[0-9]{1,19}"

    def get_parsers(self) -> list[BaseParser]:
        if self.request is not None and self.request.method in ("POST", "PUT"):
            return [import_string(path)() for path in settings.UPLOAD_PARSER_CLASSES]
        return super().get_parsers()

    def get_object(self) -> ModelVersion:
        return find_visible(int(self.kwargs["pk"]), Accessor.of(self.request))

    @extend_schema(
        request={
            "application/json": ModelVersionRequest,
            "multipart/form-data": ModelVersionRequest,
        },
        responses={201: ModelVersionSerializer, 409: None},
    )
    def create(self, request: Request) -> Response:
        """Register a version, for a new name or for a model whose versions the caller manages."""
        accessor = Accessor.of(request)
        # Before the body is read: others must not send a file that is written to disk.
        _require_some_to_register(accessor)
        payload = ModelVersionRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        _require_to_register(accessor, fields["name"])
        version = services.register_model(
            name=fields["name"],
            version=fields.get("version"),
            framework=fields["framework"],
            metrics=fields.get("metrics"),
            description=fields.get("description", ""),
            tags=fields.get("tags"),
            max_concurrency=fields.get("max_concurrency"),
            timeout_seconds=fields.get("timeout_seconds"),
            attribution=Attribution.from_request(request),
            upload=_upload(fields) if "artifact" in fields else None,
        )
        return Response(self.get_serializer(version).data, status=HTTP_201_CREATED)

    @extend_schema(request=ModelVersionChange, responses={200: ModelVersionSerializer, 409: None})
    def partial_update(self, request: Request, pk: str) -> Response:
        _find_managed(request, pk)
        payload = ModelVersionChange(data=request.data)
        payload.is_valid(raise_exception=True)
        version = activation.update_version(
            model_id=int(pk),
            attribution=Attribution.from_request(request),
            **payload.validated_data,
        )
        return Response(self.get_serializer(version).data)

    @extend_schema(
        responses={204: OpenApiResponse(description="Deleted, together with its file."), 409: None}
    )
    def destroy(self, request: Request, pk: str) -> Response:
        _find_managed(request, pk, "registry.delete_modelversion")
        services.delete_version(model_id=int(pk), attribution=Attribution.from_request(request))
        return Response(status=HTTP_204_NO_CONTENT)

    @extend_schema(
        request={"multipart/form-data": ArtifactRequest},
        responses={200: ModelVersionSerializer, 409: None},
    )
    @action(detail=True, methods=["put"])
    def artifact(self, request: Request, pk: str) -> Response:
        """Attach the artifact, once: register a new version for a new file."""
        _find_managed(request, pk)
        payload = ArtifactRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        version = services.attach_artifact(
            model_id=int(pk),
            upload=_upload(payload.validated_data),
            attribution=Attribution.from_request(request),
        )
        return Response(self.get_serializer(version).data)

    @extend_schema(
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            304: OpenApiResponse(description="The client has it: see If-None-Match."),
            409: None,
            416: OpenApiResponse(description="The file has no such range."),
        }
    )
    @artifact.mapping.get
    def download(self, request: Request, pk: str) -> HttpResponseBase:
        """Download the artifact. `Repr-Digest` and `ETag` hold its SHA-256."""
        accessor = Accessor.of(request)
        version = self.get_object()
        downloads.require_right(accessor, version)
        return downloads.download(request._request, version, accessor)


def find_visible(model_id: int, accessor: Accessor) -> ModelVersion:
    """The version with this id. Raises ModelNotFound, also if the accessor may not know of it."""
    return rights.visible(VERSIONS, accessor).find(model_id)


def _find_managed(request: Request, pk: str, permission: str | None = None) -> None:
    """Raise ModelNotFound or PermissionDenied unless the caller may manage this version."""
    accessor = Accessor.of(request)
    version = find_visible(int(pk), accessor)
    rights.require(accessor, Right.MANAGE_VERSIONS, version.name, permission=permission)


ADD = "registry.add_modelversion"


def _require_some_to_register(accessor: Accessor) -> None:
    if not (
        rights.holds_everywhere(accessor, Right.MANAGE_VERSIONS, ADD)
        or rights.models_with(accessor, Right.MANAGE_VERSIONS, permission=ADD).exists()
    ):
        raise PermissionDenied("You may not register versions.")


def _require_to_register(accessor: Accessor, name: str) -> None:
    if not rights.has(accessor, Right.MANAGE_VERSIONS, name, permission=ADD):
        # The same for a new name and for one that the caller may not know of.
        raise PermissionDenied(f"You may not register versions of model {name}.")


def _upload(fields: Mapping[str, Any]) -> services.Upload:
    return services.Upload(fields["artifact"], fields.get("signature"), fields.get("example", ()))
