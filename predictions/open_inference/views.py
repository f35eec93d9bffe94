"""/v2: the Open Inference Protocol, for the clients of KServe, Triton and MLServer.

A second face of what /api/v1 serves: the same versions, tokens and log.
"""

from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_503_SERVICE_UNAVAILABLE
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication

from predictions.authentication import RememberingAuthentication
from predictions.open_inference import schema
from predictions.open_inference.infer import KEY_PARAMETER, ask
from predictions.open_inference.statistics import statistics_of
from predictions.serving import services
from predictions.serving.idempotency import HEADER, Claim
from registry.artifacts import store
from registry.exact_json.values import parse_json
from registry.loader import ArtifactMissing
from registry.models import ModelVersion
from registry.open_inference.binary import LENGTH_HEADER, TensorError
from registry.open_inference.messages import BINARY, InferRequest, read_request
from registry.signatures.signature import Signature

EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics", "parameters"]
# Of one answer: the protocol has no pages.
MAX_VERSIONS = 1000
PLATFORMS = {"onnx": "onnx_onnxv1"}
JSON_LENGTH = f"HTTP_{LENGTH_HEADER.upper().replace('-', '_')}"
IDEMPOTENCY_KEY = f"HTTP_{HEADER.upper().replace('-', '_')}"
AUTHENTICATION = RememberingAuthentication()
# Asks whether the user is active, where no recording statement does.
CAREFUL_AUTHENTICATION = JWTAuthentication()

LENGTH_PARAMETER = OpenApiParameter(
    LENGTH_HEADER,
    int,
    OpenApiParameter.HEADER,
    description="With binary data: the bytes of the JSON before it.",
)


def reference_of(name: str, version: str | None) -> str:
    """What the path names, as `model` names it elsewhere."""
    return name if version is None else f"{name}:{version}"


class ServerView(APIView):
    @extend_schema(operation_id="v2_server", responses={(200, "application/json"): schema.SERVER})
    def get(self, request: Request) -> Response:
        """The server's name, version and extensions."""
        return Response({"name": "mlapi", "version": settings.VERSION, "extensions": EXTENSIONS})


# -- inference


class InferView(APIView):
    """Score the rows of some tensors, all or none of them."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As DRF's, which is left to say what is wrong: it took longer than a small model."""
        if request.method == "POST":
            try:
                if response := _infer(request, **kwargs):
                    return response
            except Exception as error:
                return self.handle_exception(error)
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        operation_id="v2_infer",
        parameters=[LENGTH_PARAMETER],
        request={"application/json": schema.INFER_REQUEST, BINARY: OpenApiTypes.BINARY},
        responses={
            (200, "application/json"): schema.INFER_RESPONSE,
            (200, BINARY): OpenApiTypes.BINARY,
            409: None,
            422: None,
        },
    )
    def post(self, request: Request, name: str, version: str | None = None) -> HttpResponse:
        """Score all rows or none; a 200 means that each is committed as a prediction."""
        # Only who has no token comes here, and is refused before.
        raise ParseError


def _infer(request: HttpRequest, name: str, version: str | None = None) -> HttpResponse | None:
    """The answer to a request with a token; None leaves it to DRF to refuse."""
    given = request.META
    known = AUTHENTICATION.authenticate(request)
    if known is None:
        return None
    # For the access log, as DRF does.
    request.user, token = known
    if given.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise TensorError("Content-Encoding is not taken: send the body as it is")
    # Whatever its type is said to be: the protocol's clients say all kinds of things.
    asked = read_request(request.body, given.get(JSON_LENGTH))
    claim = _claim(request, asked)
    caller = services.Caller.of(request, token)
    body, headers = ask(reference_of(name, version), asked, caller=caller, claim=claim)
    return HttpResponse(body, headers=headers)


def _claim(request: HttpRequest, asked: InferRequest) -> Claim | None:
    key = asked.parameters.get(KEY_PARAMETER, request.META.get(IDEMPOTENCY_KEY))
    if key is None:
        return None
    if not isinstance(key, str):
        raise TensorError(f"{KEY_PARAMETER} must be text")
    # May be answered without a recording.
    CAREFUL_AUTHENTICATION.authenticate(Request(request))
    path, body = request.path.rstrip("/").encode(), request.body
    # What lies before the binary data is as much a part of what is asked as the data.
    length = request.META.get(JSON_LENGTH, "").encode()
    return Claim.of(int(request.user.pk or 0), key, path, length, body)


@extend_schema_view(post=extend_schema(operation_id="v2_version_infer"))
class VersionInferView(InferView):
    """The same of one version."""


# -- what there is


def _find(name: str, version: str | None) -> ModelVersion:
    return ModelVersion.objects.resolve_specifier(reference_of(name, version))


class ModelView(APIView):
    @extend_schema(
        operation_id="v2_model", responses={(200, "application/json"): schema.MODEL, 409: None}
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """The inputs and outputs of a model; without a version, of its champion."""
        row = _find(name, version)
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
                "inputs": [_tensor(tensor) for tensor in signature.inputs],
                "outputs": [_tensor(tensor) for tensor in signature.outputs],
            }
        )


@extend_schema_view(get=extend_schema(operation_id="v2_version"))
class VersionView(ModelView):
    """The same of one version."""


def platform_of(row: ModelVersion) -> str:
    """`<project>_<format>`, as the protocol wants it; informational."""
    return PLATFORMS.get(row.framework) or f"{row.framework}_{Path(row.artifact).suffix[1:]}"


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


class ModelReadyView(APIView):
    @extend_schema(
        operation_id="v2_model_ready", responses={(200, "application/json"): schema.MODEL_READY}
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """200 where the model can be asked, else 503. It is not loaded for this."""
        row = _find(name, version)
        is_ready = _has_file(row)
        body = {"name": row.name, "ready": is_ready}
        return Response(body, status=None if is_ready else HTTP_503_SERVICE_UNAVAILABLE)


@extend_schema_view(get=extend_schema(operation_id="v2_version_ready"))
class VersionReadyView(ModelReadyView):
    """The same of one version."""


def _has_file(row: ModelVersion) -> bool:
    if not row.has_artifact:
        return False
    try:
        path = store.resolve(Path(settings.MODEL_PATH), row.artifact)
        return path.stat().st_size == row.size_bytes
    except (OSError, ValueError):
        return False


class ModelStatisticsView(APIView):
    @extend_schema(
        operation_id="v2_model_statistics",
        responses={(200, "application/json"): schema.STATISTICS},
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """Counts and times of the newest 10,000 predictions, as the log has them. What is not
        measured is 0.
        """
        return Response({"model_stats": [statistics_of(_find(name, version))]})


@extend_schema_view(get=extend_schema(operation_id="v2_version_statistics"))
class VersionStatisticsView(ModelStatisticsView):
    """The same of one version."""


class RepositoryIndexView(APIView):
    # An empty body is as good as none.
    parser_classes = []

    @extend_schema(
        operation_id="v2_repository_index",
        request={"application/json": schema.INDEX_REQUEST},
        responses={(200, "application/json"): schema.INDEX},
    )
    def post(self, request: Request) -> HttpResponse:
        """The newest 1,000 versions, and whether each can be asked."""
        rows = ModelVersion.objects.newest_first()
        if _wants_ready(request._request.body):
            rows = rows.active().exclude(artifact="")
        told = [_indexed(row) for row in rows.only(*INDEXED)[:MAX_VERSIONS]]
        return HttpResponse(orjson.dumps(told), content_type="application/json")


INDEXED = ("name", "version", "artifact", "is_active")


def _wants_ready(body: bytes) -> bool:
    try:
        document = parse_json(body) if body.strip() else {}
    except ValueError as error:
        raise TensorError(f"Not acceptable as JSON: {error}") from error
    ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(ready, bool):
        raise TensorError('Must be an object, in which "ready" is true or false')
    return ready


def _indexed(row: ModelVersion) -> dict[str, str]:
    reason = "" if row.has_artifact else "no artifact yet"
    if not row.is_active:
        reason = "inactive"
    state = "UNAVAILABLE" if reason else "READY"
    return {"name": row.name, "version": row.version, "state": state, "reason": reason}
