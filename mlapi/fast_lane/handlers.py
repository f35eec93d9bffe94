"""The handlers of the fast lane: each answers a plain body, and leaves any other to Django."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import orjson
from django.http import HttpRequest, HttpResponse

from mlapi.health import views
from predictions.open_inference.infer import KEY_PARAMETER, infer
from predictions.open_inference.views import specifier_of
from predictions.serializers import PredictionSerializer
from predictions.serving import services
from predictions.serving.questions import Caller, Question
from registry.exact_json.values import parse_json_body
from registry.open_inference.messages import read_request

Environ: TypeAlias = dict[str, Any]
Body: TypeAlias = tuple[HTTPStatus, bytes, Mapping[str, str]]
# Returns None if Django should answer.
Handler: TypeAlias = Callable[[Environ, bytes, Caller, Mapping[str, str]], Body | None]

PREDICTION = PredictionSerializer()
JSON_HEADERS = {"Content-Type": "application/json"}
PLAIN_TEXTS = frozenset({"model", "subject", "reference"})
# Such a text needs no trimming, and no serializer would reject it.
PLAIN_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@:._+-")
MAX_PLAIN_LENGTH = 150


def _predict(
    environ: Environ, content: bytes, caller: Caller, parameters: Mapping[str, str]
) -> Body | None:
    if environ.get("CONTENT_TYPE") != "application/json":
        return None
    try:
        data = parse_json_body(content)
    except ValueError:
        return None
    if not _is_plain_body(data):
        return None
    question = Question(
        caller=caller,
        model_id=data.get("model_id"),
        model=data.get("model"),
        subject=data.get("subject"),
    )
    record = services.predict(question, data["input_data"], reference=data.get("reference"))
    document = orjson.dumps(PREDICTION.to_representation(record), option=orjson.OPT_UTC_Z)
    return HTTPStatus.CREATED, document, JSON_HEADERS


def _is_plain_body(data: Any) -> bool:
    """Whether PredictionRequest would accept a body unchanged."""
    if not isinstance(data, dict) or not isinstance(data.get("input_data"), dict):
        return False
    for key, value in data.items():
        if key == "model_id":
            is_plain = type(value) is int and value > 0
        elif key in PLAIN_TEXTS:
            is_plain = (
                type(value) is str
                and 0 < len(value) <= MAX_PLAIN_LENGTH
                and PLAIN_CHARACTERS.issuperset(value)
            )
        else:
            is_plain = key == "input_data"
        if not is_plain:
            return False
    return ("model_id" in data) != ("model" in data)


def _infer(
    environ: Environ, content: bytes, caller: Caller, parameters: Mapping[str, str]
) -> Body | None:
    request = read_request(content, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))
    if KEY_PARAMETER in request.parameters:
        return None
    specifier = specifier_of(parameters["name"], parameters.get("version"))
    body, headers = infer(specifier, request, caller)
    return HTTPStatus.OK, body, headers


PROBES: Mapping[str, Callable[[HttpRequest], HttpResponse]] = {
    "live": views.live,
    "ready": views.ready,
    "v2-live": views.open_inference_live,
    "v2-ready": views.open_inference_ready,
}
ROUTES: Mapping[str, Handler] = {
    "prediction-list": _predict,
    "v2-infer": _infer,
    "v2-version-infer": _infer,
}
