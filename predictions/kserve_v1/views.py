"""/v1: KServe's first protocol, which is also TensorFlow Serving's row format.

It serves the same versions as /v2, to the same users, and writes to the same log.

Source: KServe's documentation of the V1 data plane, and `get_predict_input` in kserve/kserve.
"""

import orjson
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from predictions.authentication import CachedTokenAuthentication
from predictions.kserve_v1 import schema
from predictions.mlflow.bodies import Invocation, read_body
from predictions.mlflow.responses import Style, predictions_of
from predictions.open_inference.requests import IDEMPOTENCY_KEY, body_of, claim_of
from predictions.open_inference.views import MAX_VERSIONS, ModelReadyView
from predictions.serializers import TIMEOUT_PARAMETER
from predictions.serving import services
from predictions.serving.answers import Answer
from predictions.serving.questions import Caller, Question
from predictions.serving.records import Record
from predictions.serving.services import PredictionFailed
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.values import parse_json_body
from registry.models import ModelVersion
from registry.open_inference.binary import TensorError
from registry.signatures.signature import Signature
from registry.signatures.validation import InvalidInput

FORMATS = ("instances", "inputs")
# TensorFlow Serving's name of the signature that every model has.
DEFAULT_SIGNATURE = "serving_default"


class ModelsView(APIView):
    @extend_schema(operation_id="v1_models", responses={(200, "application/json"): schema.MODELS})
    def get(self, request: Request) -> Response:
        """The names of the models that have an active version with a file, at most 1,000."""
        rows = ModelVersion.objects.active().exclude(artifact="").order_by("name")
        rows = rights.visible(rows, Accessor.of(request))
        names = rows.values_list("name", flat=True).distinct()[:MAX_VERSIONS]
        return Response({"models": list(names)})


class ModelView(ModelReadyView):
    @extend_schema(
        operation_id="v1_model",
        responses={
            (200, "application/json"): schema.MODEL,
            (503, "application/json"): schema.MODEL,
        },
    )
    def get(self, request: Request, name: str, version: str | None = None) -> Response:
        """200 if the model is available, else 503. Does not load it."""
        return super().get(request, name, version)


class PredictView(APIView):
    """Score rows that are sent as `instances`, all or none of them."""

    # As at /v2, clients send all kinds of content types.
    parser_classes = []

    def get_authenticators(self) -> list[BaseAuthentication]:
        # The recording statement checks that the user is active.
        return [CachedTokenAuthentication()]

    @extend_schema(
        operation_id="v1_predict",
        parameters=[TIMEOUT_PARAMETER],
        request={"application/json": schema.REQUEST},
        responses={
            (200, "application/json"): schema.RESPONSE,
            **dict.fromkeys((409, 422, 504)),
        },
    )
    def post(self, request: Request, name: str) -> HttpResponse:
        """Score all rows or none; a 200 means that each is committed as a prediction.

        The predictions are those of KServe's server for the framework: the label or value of a
        scikit-learn model, what an XGBoost or LightGBM Booster returns (for a classifier, the
        probabilities), and the outputs by name of an ONNX model that has several.
        """
        body = body_of(request)
        claim = claim_of(request, request.META.get(IDEMPOTENCY_KEY))
        question = Question(caller=Caller.of(request), model=name, claim=claim)
        rows, is_new = services.answer_once(question, lambda: _predict(question, body))
        version = rows[0].model
        signature = question.loaded.signature if is_new else Signature.from_json(version.signature)
        predictions = predictions_of(
            [Answer.recorded(row) for row in rows], signature, _style(version, signature)
        )
        return HttpResponse(
            orjson.dumps({"predictions": predictions}), content_type="application/json"
        )


def _predict(question: Question, body: bytes) -> list[Record]:
    invocation = _read(body, question.loaded.signature)
    try:
        if len(invocation.inputs) == 1:
            return [services.predict(question, invocation.inputs[0])]
        return services.predict_batch(question, invocation.inputs)
    except InvalidInput as error:
        raise InvalidInput(error.row, invocation.in_body(error.errors)) from error
    except PredictionFailed as error:
        error.errors = invocation.in_body(error.errors)
        raise


def _read(body: bytes, signature: Signature) -> Invocation:
    """The rows of a body; raises TensorError or InvalidInput."""
    try:
        document = parse_json_body(body)
    except ValueError as error:
        raise TensorError(f"Invalid JSON: {error}") from error
    names = [name for name in FORMATS if isinstance(document, dict) and name in document]
    if len(names) != 1:
        raise TensorError('The body must be an object with either "instances" or "inputs"')
    name = names[0]
    if document.get("signature_name") not in (None, DEFAULT_SIGNATURE):
        raise TensorError(
            f"signature_name must be {DEFAULT_SIGNATURE!r} or left out: a model has one signature"
        )
    if unknown := sorted(document.keys() - {name, "signature_name"}):
        raise InvalidInput(0, {key: ["Unknown field."] for key in unknown})
    return read_body({name: document[name]}, signature, limit=settings.MAX_BATCH_ROWS)


def _style(version: ModelVersion, signature: Signature) -> Style:
    if version.framework in ("xgboost", "lightgbm"):
        return "booster"
    is_tensors = version.framework in ("onnx", "open-inference")
    return "records" if is_tensors and len(signature.outputs) > 1 else "predictions"
