"""The prediction endpoints: /api/v1/predictions/ and /api/v1/models/{id}/predictions/."""

from typing import IO, Any, cast

import orjson
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED
from rest_framework.viewsets import GenericViewSet

from predictions import ndjson
from predictions.authentication import CachedTokenAuthentication
from predictions.filters import ModelPredictionQuery, PredictionPagination, PredictionQuery
from predictions.models import MAX_KEY_LENGTH, Prediction, attach_outcomes
from predictions.reads import audit_page, audit_read
from predictions.serializers import (
    TIMEOUT_PARAMETER,
    BatchRequest,
    ListedPredictionSerializer,
    ModelPredictionsSerializer,
    PredictionDetailSerializer,
    PredictionRequest,
    PredictionSerializer,
    StreamQuery,
)
from predictions.serving import services
from predictions.serving.idempotency import HEADER, Claim, InvalidKey
from predictions.serving.questions import Caller, Question
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import Right
from registry.serializers import ModelVersionSerializer
from registry.views import find_visible

# Built once: DRF copies every field of a serializer it builds, which took as long as a prediction.
PREDICTION_REQUEST = PredictionRequest()
BATCH_REQUEST = BatchRequest()
PREDICTION = PredictionSerializer()
LISTED = ListedPredictionSerializer()
DETAIL = PredictionDetailSerializer()

IDEMPOTENCY_KEY = f"HTTP_{HEADER.upper().replace('-', '_')}"
KEY_PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    OpenApiParameter.HEADER,
    description="Your own ID for this request. A retry gets the same answer, with status 200.",
)

# Statuses of a model that is unavailable or fails.
REFUSALS = (404, 409, 422, 504)


class PredictionViewSet(GenericViewSet[Prediction]):
    """Request predictions from a version, and look up recorded ones."""

    queryset = Prediction.objects.listed().newest_first()
    serializer_class = ListedPredictionSerializer
    query_serializer_class = PredictionQuery
    pagination_class = PredictionPagination
    lookup_value_regex = "[0-9]{1,19}"

    def get_authenticators(self) -> list[BaseAuthentication]:
        # The recording statement checks that the user is active, which saves a query. It comes too
        # late for a stream, whose response has begun by then, and does not run at all when an
        # earlier answer is repeated.
        if (
            self.request is not None
            and self.request.method == "POST"
            and self.request.content_type not in ndjson.MEDIA_TYPES
            and IDEMPOTENCY_KEY not in self.request.META
        ):
            return [CachedTokenAuthentication()]
        return super().get_authenticators()

    def filter_queryset(self, queryset: Any) -> Any:
        rows: Any = super().filter_queryset(queryset)
        return rows.readable_by(Accessor.of(self.request))

    @extend_schema(
        request=PredictionRequest,
        parameters=[KEY_PARAMETER, TIMEOUT_PARAMETER],
        responses={
            201: PredictionSerializer,
            200: PredictionSerializer,
            **dict.fromkeys(REFUSALS),
        },
    )
    def create(self, request: Request) -> HttpResponse:
        """Score one input. A 201 means that the record is committed; a 200 repeats the answer to
        an earlier request with the same Idempotency-Key.
        """
        claim = _claim(request)
        payload = PREDICTION_REQUEST.run_validation(request.data)
        input_data, reference = payload.pop("input_data"), payload.pop("reference", None)
        question = Question(caller=Caller.of(request), claim=claim, **payload)
        [row], is_new = services.answer_once(
            question, lambda: [services.predict(question, input_data, reference=reference)]
        )
        return _json(PREDICTION.to_representation(row), is_new=is_new)

    @extend_schema(
        request={"application/json": BatchRequest, ndjson.MEDIA_TYPE: OpenApiTypes.BINARY},
        parameters=[
            KEY_PARAMETER,
            TIMEOUT_PARAMETER,
            OpenApiParameter("model_id", int, description="With NDJSON: the version's id."),
            OpenApiParameter("model", str, description="With NDJSON: instead of model_id."),
            OpenApiParameter(
                "subject", str, description="With NDJSON: who or what the rows are about."
            ),
        ],
        responses={
            (201, "application/json"): PredictionSerializer(many=True),
            (200, "application/json"): PredictionSerializer(many=True),
            (200, ndjson.MEDIA_TYPE): OpenApiTypes.BINARY,
            411: None,
            **dict.fromkeys(REFUSALS),
        },
        filters=False,
    )
    @action(
        detail=False,
        methods=["post"],
        parser_classes=[*api_settings.DEFAULT_PARSER_CLASSES, *ndjson.PARSERS],
        pagination_class=None,
    )
    def batch(self, request: Request) -> HttpResponseBase:
        """Score many inputs: as JSON all or none of them, as NDJSON line by line.

        The results of NDJSON are a stream, which is compressed if Accept-Encoding names zstd or
        gzip.
        """
        if request._request.content_type in ndjson.MEDIA_TYPES:
            return self._stream(request)
        claim = _claim(request)
        payload = BATCH_REQUEST.run_validation(request.data)
        inputs, references = payload.pop("inputs"), payload.pop("references", None)
        question = Question(caller=Caller.of(request), claim=claim, **payload)
        rows, is_new = services.answer_once(
            question, lambda: services.predict_batch(question, inputs, references=references)
        )
        return _json([PREDICTION.to_representation(row) for row in rows], is_new=is_new)

    def _stream(self, request: Request) -> HttpResponseBase:
        if IDEMPOTENCY_KEY in request.META:
            raise InvalidKey(f"{HEADER} is not supported with NDJSON, which commits line by line.")
        ndjson.body_length(request, limit_bytes=settings.MAX_NDJSON_BYTES)
        query = StreamQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        question = Question(caller=Caller.of(request), **query.validated_data)
        # Now, while the response can still have another status and before the body is copied.
        services.check_rights(question)
        results = ndjson.stream_results(question, cast(IO[bytes], request.data))
        return StreamingHttpResponse(results, content_type=ndjson.MEDIA_TYPE)

    def list(self, request: Request) -> Response:
        rows = self.filter_queryset(self.get_queryset())
        page = self.paginate_queryset(rows) or []
        audit_page(request, page, target="predictions")
        return self.get_paginated_response([LISTED.to_representation(row) for row in page])

    @extend_schema(responses={200: PredictionDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """One of the caller's own predictions, or of a model whose log they may read."""
        accessor = Accessor.of(request)
        row = Prediction.objects.readable_by(accessor).find(int(pk))
        attach_outcomes([row])
        audit_read(accessor, [row], target=f"prediction {pk}")
        return Response(DETAIL.to_representation(row))


def _claim(request: Request) -> Claim | None:
    """The claim of the request's Idempotency-Key; call it before anything reads the body."""
    key = request.META.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    body = request._request.body
    return Claim.of(int(request.user.pk or 0), key, request.path.rstrip("/").encode(), body)


def _json(document: object, *, is_new: bool) -> HttpResponse:
    """A response without DRF's own, whose template machinery took longer than the JSON.

    All numbers are finite: answers are checked, and the parser rejects other metadata.
    """
    return HttpResponse(
        orjson.dumps(document, option=orjson.OPT_UTC_Z),
        status=HTTP_201_CREATED if is_new else HTTP_200_OK,
        content_type="application/json",
    )


class ModelPredictionViewSet(GenericViewSet[Prediction]):
    """One version and those of its predictions that the caller may read, newest first."""

    queryset = Prediction.objects.listed().newest_first()
    serializer_class = ModelPredictionsSerializer
    query_serializer_class = ModelPredictionQuery
    pagination_class = PredictionPagination

    @extend_schema(operation_id="models_predictions_list")
    def list(self, request: Request, pk: str) -> Response:
        accessor = Accessor.of(request)
        version = find_visible(int(pk), accessor)
        rows = self.filter_queryset(Prediction.objects.listed().of_version(version.pk))
        if not rights.has(accessor, Right.READ_LOG, version.name):
            rows = rows.filter(user=accessor.user)
        page = self.paginate_queryset(rows) or []
        audit_page(request, page, target=f"predictions of {version}")
        return self.get_paginated_response(
            {
                "model": ModelVersionSerializer(version).data,
                "predictions": [LISTED.to_representation(row) for row in page],
            }
        )
