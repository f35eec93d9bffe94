"""The prediction endpoints: /api/v1/predictions/ and /api/v1/models/{id}/predictions/."""

from typing import IO, Any, cast

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED
from rest_framework.viewsets import GenericViewSet

from predictions import ndjson
from predictions.authentication import RememberingAuthentication
from predictions.models import MAX_KEY_LENGTH, Prediction
from predictions.serializers import (
    BatchRequest,
    ModelPredictionQuery,
    ModelPredictionsSerializer,
    PredictionDetailSerializer,
    PredictionQuery,
    PredictionRequest,
    PredictionSerializer,
    StreamQuery,
)
from predictions.serving import services
from predictions.serving.idempotency import HEADER, Claim, InvalidKey
from registry import loader
from registry.exact_json.values import parse_json
from registry.models import ModelVersion
from registry.serializers import ModelVersionSerializer

# Built once: DRF copies every field of a serializer it builds, which took as long as a prediction.
PREDICTION_REQUEST = PredictionRequest()
BATCH_REQUEST = BatchRequest()
PREDICTION = PredictionSerializer()
AUTHENTICATION = RememberingAuthentication()

IDEMPOTENCY_KEY = f"HTTP_{HEADER.upper().replace('-', '_')}"
KEY_PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    OpenApiParameter.HEADER,
    description="Your own name of this request: sent again, it gets the same answer, with 200.",
)

# Of the model that is asked for, and of what it says.
REFUSALS = (404, 409, 422)


class PredictionViewSet(ListModelMixin, GenericViewSet[Prediction]):
    """Ask a version for a prediction, and look at what was answered."""

    queryset = Prediction.objects.listed().newest_first()
    serializer_class = PredictionSerializer
    query_serializer_class = PredictionQuery
    lookup_value_regex = "[0-9]{1,19}"

    def get_authenticators(self) -> list[BaseAuthentication]:
        # The recording statement itself asks whether the user is active: no query before it. A
        # stream would begin to answer before it is asked.
        if (
            self.request is not None
            and self.request.method == "POST"
            and self.request.content_type != ndjson.MEDIA_TYPE
            # May be answered without a recording.
            and IDEMPOTENCY_KEY not in self.request.META
        ):
            return [AUTHENTICATION]
        return super().get_authenticators()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As DRF's, which a plain prediction is spared: it took longer than a small model."""
        if request.method == "POST" and self.action_map and self.action_map["post"] == "create":
            try:
                if response := _predict_at_once(request):
                    return response
            except Exception as error:
                return self.handle_exception(error)
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        request=PredictionRequest,
        parameters=[KEY_PARAMETER],
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
        return _predict(request.data, services.Caller.of(request, request.auth), claim)

    @extend_schema(
        request={"application/json": BatchRequest, ndjson.MEDIA_TYPE: OpenApiTypes.BINARY},
        parameters=[
            KEY_PARAMETER,
            OpenApiParameter("model_id", int, description="With NDJSON: who shall answer."),
            OpenApiParameter("model", str, description="With NDJSON, instead of model_id."),
            OpenApiParameter("subject", str, description="With NDJSON: whom it is about."),
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
        parser_classes=[*api_settings.DEFAULT_PARSER_CLASSES, ndjson.NDJSONParser],
        pagination_class=None,
    )
    def batch(self, request: Request) -> HttpResponseBase:
        """Score many inputs: as JSON all or none of them, as NDJSON line by line."""
        if request.content_type.partition(";")[0].strip().lower() == ndjson.MEDIA_TYPE:
            return self._stream(request)
        claim = _claim(request)
        payload = BATCH_REQUEST.run_validation(request.data)
        caller = services.Caller.of(request, request.auth)
        rows, is_new = services.answer_once(
            claim, lambda: services.predict_batch(**payload, caller=caller, claim=claim)
        )
        status = HTTP_201_CREATED if is_new else HTTP_200_OK
        return _json([PREDICTION.to_representation(row) for row in rows], status)

    def _stream(self, request: Request) -> HttpResponseBase:
        if IDEMPOTENCY_KEY in request.META:
            raise InvalidKey(f"{HEADER} is not taken with NDJSON, whose lines commit one by one.")
        ndjson.body_length(request, limit_bytes=settings.MAX_NDJSON_BYTES)
        query = StreamQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        caller = services.Caller.of(request, request.auth)
        target = services.target_of(**query.validated_data, caller=caller)
        model = loader.get(target.model_id)
        results = ndjson.stream_results(
            model, cast(IO[bytes], request.data), target=target, caller=caller
        )
        return StreamingHttpResponse(results, content_type=ndjson.MEDIA_TYPE)

    @extend_schema(responses={200: PredictionDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(PredictionDetailSerializer(Prediction.objects.find(int(pk))).data)


def _predict_at_once(request: HttpRequest) -> HttpResponse | None:
    """The answer to a request with a token and JSON of a proper size; None leaves it to DRF."""
    given = request.META
    if given.get("CONTENT_TYPE") != "application/json" or IDEMPOTENCY_KEY in given:
        return None
    announced = given.get("CONTENT_LENGTH") or ""
    if not announced.isdecimal() or int(announced) > settings.MAX_REQUEST_BYTES:
        return None
    known = AUTHENTICATION.authenticate(request)
    if known is None:
        return None
    try:
        data = parse_json(request.body)
    except ValueError:
        return None
    # For the access log, as DRF does.
    request.user, token = known
    return _predict(data, services.Caller.of(request, token))


def _predict(data: Any, caller: services.Caller, claim: Claim | None = None) -> HttpResponse:
    payload = PREDICTION_REQUEST.run_validation(data)
    [row], is_new = services.answer_once(
        claim, lambda: [services.predict(**payload, caller=caller, claim=claim)]
    )
    return _json(PREDICTION.to_representation(row), HTTP_201_CREATED if is_new else HTTP_200_OK)


def _claim(request: Request) -> Claim | None:
    """What the Idempotency-Key of a request says; asked before the body is read by anybody else."""
    key = request.META.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    body = request._request.body
    return Claim.of(int(request.user.pk or 0), key, request.path.rstrip("/").encode(), body)


def _json(document: Any, status: int) -> HttpResponse:
    """A response without DRF's own, whose template machinery took longer than the JSON.

    Its numbers are finite: an answer was looked at, and metadata was parsed so.
    """
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return HttpResponse(body, status=status, content_type="application/json")


class ModelPredictionViewSet(GenericViewSet[Prediction]):
    """One version and its predictions, newest first, in two queries."""

    queryset = Prediction.objects.listed().newest_first()
    serializer_class = ModelPredictionsSerializer
    query_serializer_class = ModelPredictionQuery

    @extend_schema(operation_id="models_predictions_list")
    def list(self, request: Request, pk: str) -> Response:
        version = ModelVersion.objects.select_related("created_by").find(int(pk))
        rows = self.filter_queryset(self.get_queryset().filter(model=version))
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(
            {
                "model": ModelVersionSerializer(version).data,
                "predictions": [PREDICTION.to_representation(row) for row in page],
            }
        )
