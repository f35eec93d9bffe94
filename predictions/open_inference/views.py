"""/v2: the Open Inference Protocol, for clients of KServe, Triton and MLServer.

It serves the same versions as /api/v1, to the same users, and writes to the same log.
"""

from pathlib import Path

import orjson
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_503_SERVICE_UNAVAILABLE
from rest_framework.views import APIView

from predictions.authentication import CachedTokenAuthentication
from predictions.open_inference import schema
from predictions.open_inference.infer import KEY_PARAMETER, infer
from predictions.open_inference.requests import (
    IDEMPOTENCY_KEY,
    JSON_LENGTH,
    body_of,
    claim_of,
)
from predictions.open_inference.rows import tensor_shape
from predictions.open_inference.statistics import statistics_of
from predictions.serializers import TIMEOUT_PARAMETER
from predictions.serving.questions import Caller
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.values import parse_json_body
from registry.loading.availability import is_at_hand
from registry.loading.errors import ArtifactMissing
from registry.models import ModelVersion, Right
from registry.open_inference.binary import LENGTH_HEADER, TensorError
from registry.open_inference.messages import BINARY, read_request
from registry.signatures.signature import Input, Output, Signature

EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics", "parameters"]
# In one response: the protocol has no pagination.
MAX_VERSIONS = 1000
PLATFORMS = {"onnx": "onnx_onnxv1"}

LENGTH_PARAMETER = OpenApiParameter(
    LENGTH_HEADER,
    int,
    OpenApiParameter.HEADER,
    description="Required with binary data: the size in bytes of the JSON that precedes it.",
)


def specifier_of(name: str, version: str | None) -> str:
    """The model specifier of the name and version in a path."""
    return name if version is None else f"{name}:{version}"


class ServerView(APIView):
    @extend_schema(operation_id="v2_server", responses={(200, "application/json"): schema.SERVER})
    def get(self, request: Request) -> Response:
        """The server's name, version and extensions."""
        return Response({"name": "mlapi", "version": settings.VERSION, "extensions": EXTENSIONS})


# -- inference


class InferView(APIView):
    """Score rows that are sent as tensors, all or none of them."""

    # The protocol's clients send all kinds of content types: the body is read as it is.
    parser_classes = []

    def get_authenticators(self) -> list[BaseAuthentication]:
        # The recording statement checks that the user is active.
        return [CachedTokenAuthentication()]

    @extend_schema(
        operation_id="v2_infer",
        parameters=[LENGTH_PARAMETER, TIMEOUT_PARAMETER],
        request={"application/json": schema.INFER_REQUEST, BINARY: OpenApiTypes.BINARY},
        responses={
            (200, "application/json"): schema.INFER_RESPONSE,
            (200, BINARY): OpenApiTypes.BINARY,
            409: None,
            422: None,
            504: None,
        },
    )
    def post(self, request: Request, name: str, version: str | None = None) -> HttpResponse:
        """Score all rows or none; a 200 means that each is committed as a prediction."""
        infer_request = read_request(body_of(request), request.META.get(JSON_LENGTH))
        header = request.META.get(IDEMPOTENCY_KEY)
        claim = claim_of(request, infer_request.parameters.get(KEY_PARAMETER, header))
        caller = Caller.of(request)
        body, headers = infer(specifier_of(name, version), infer_request, caller, claim)
        return HttpResponse(body, headers=headers)


@extend_schema_view(post=extend_schema(operation_id="v2_version_infer"))
class VersionInferView(InferView):
    """The same for one version."""


# -- metadata


def _find(request: Request, name: str, version: str | None) -> ModelVersion:
    """The active version of the path, if the caller may know of it; raises ModelNotFound."""
    versions = rights.visible(ModelVersion.objects.all(), Accessor.of(request))
    return versions.resolve_specifier(specifier_of(name, version))


class ModelView(APIView):
    @extend_schema(
        operation_id="v2_model", responses={(200, "application/json"): schema.MODEL, 409: None}
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """The inputs and outputs of a version; without a version in the path, of the champion."""
        row = _find(request, name, version)
        if not row.has_artifact:
            raise ArtifactMissing(f"Model {row} has no artifact yet")
        named = ModelVersion.objects.active().filter(name=row.name).exclude(artifact="")
        versions = named.newest_first().values_list("version", flat=True)[:MAX_VERSIONS]
        signature = Signature.from_json(row.signature)
        return Response(
            {
                "name": row.name,
                "versions": list(versions),
                "platform": platform_of(row),
                "inputs": [_tensor(tensor, signature) for tensor in signature.inputs],
                "outputs": [_tensor(tensor, signature) for tensor in signature.outputs],
            }
        )


@extend_schema_view(get=extend_schema(operation_id="v2_version"))
class VersionView(ModelView):
    """The same for one version."""


def platform_of(row: ModelVersion) -> str:
    """`<project>_<format>`, as the protocol defines it; informational."""
    return PLATFORMS.get(row.framework) or f"{row.framework}_{Path(row.artifact).suffix[1:]}"


def _tensor(tensor: Input | Output, signature: Signature) -> dict[str, object]:
    shape = list(tensor_shape(tensor, signature))
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}


class ModelReadyView(APIView):
    @extend_schema(
        operation_id="v2_model_ready",
        responses={
            (200, "application/json"): schema.MODEL_READY,
            (503, "application/json"): schema.MODEL_READY,
        },
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """200 if the model is available, else 503. Does not load it."""
        row = _find(request, name, version)
        is_ready = _is_ready(row)
        body = {"name": row.name, "ready": is_ready}
        return Response(body, status=None if is_ready else HTTP_503_SERVICE_UNAVAILABLE)


@extend_schema_view(get=extend_schema(operation_id="v2_version_ready"))
class VersionReadyView(ModelReadyView):
    """The same for one version."""


def _is_ready(row: ModelVersion) -> bool:
    if not row.has_artifact or row.quarantined_at is not None:
        return False
    return is_at_hand(row)


class ModelStatisticsView(APIView):
    @extend_schema(
        operation_id="v2_model_statistics",
        responses={(200, "application/json"): schema.STATISTICS},
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """Counts and durations of the newest 10,000 predictions in the log; 0 for what is not
        measured.
        """
        row = _find(request, name, version)
        # The figures are of everybody's predictions.
        rights.require(Accessor.of(request), Right.READ_LOG, row.name)
        return Response({"model_stats": [statistics_of(row)]})


@extend_schema_view(get=extend_schema(operation_id="v2_version_statistics"))
class VersionStatisticsView(ModelStatisticsView):
    """The same for one version."""


class RepositoryIndexView(APIView):
    # The body is optional and may be empty.
    parser_classes = []

    @extend_schema(
        operation_id="v2_repository_index",
        request={"application/json": schema.INDEX_REQUEST},
        responses={(200, "application/json"): schema.INDEX},
    )
    def post(self, request: Request) -> HttpResponse:
        """The newest 1,000 versions, and whether each is ready."""
        rows = rights.visible(ModelVersion.objects.newest_first(), Accessor.of(request))
        if _only_ready(request._request.body):
            rows = rows.active().exclude(artifact="")
        entries = [_index_entry(row) for row in rows.only(*INDEXED)[:MAX_VERSIONS]]
        return HttpResponse(orjson.dumps(entries), content_type="application/json")


INDEXED = ("name", "version", "artifact", "is_active")


def _only_ready(body: bytes) -> bool:
    try:
        document = parse_json_body(body) if body.strip() else {}
    except ValueError as error:
        raise TensorError(f"The body is not valid JSON: {error}") from error
    ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(ready, bool):
        raise TensorError('The body must be an object, and "ready" in it true or false')
    return ready


def _index_entry(row: ModelVersion) -> dict[str, str]:
    reason = "" if row.has_artifact else "no artifact yet"
    if not row.is_active:
        reason = "inactive"
    state = "UNAVAILABLE" if reason else "READY"
    return {"name": row.name, "version": row.version, "state": state, "reason": reason}
