"""The comparison fails if a change affects only one of the two ways."""

from collections.abc import Mapping

import pytest
from django.conf import LazySettings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.throttling import BaseThrottle

from mlapi.middleware import GetResponse
from mlapi.tests.fast_lane.comparison import differences
from mlapi.tests.fast_lane.requests import (
    ROW,
    ClientRequest,
    as_json,
)
from predictions.open_inference.views import InferView
from predictions.serializers import PredictionRequest
from predictions.views import PREDICTION_REQUEST, PredictionViewSet


@pytest.fixture
def requests(models: Mapping[str, int], authorization: dict[str, str]) -> list[ClientRequest]:
    [body] = as_json({"model": "iris", "input_data": ROW})
    return [ClientRequest(body, headers=authorization)]


def test_a_permission_on_only_the_view_is_detected(
    requests: list[ClientRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    class DenyAll(BasePermission):
        def has_permission(self, request: object, view: object) -> bool:
            return False

    monkeypatch.setattr(PredictionViewSet, "permission_classes", [IsAuthenticated, DenyAll])

    assert len(differences(requests)) == 1


def test_a_throttle_on_only_the_view_is_detected(
    requests: list[ClientRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    class ThrottleAll(BaseThrottle):
        def allow_request(self, request: object, view: object) -> bool:
            return False

    monkeypatch.setattr(PredictionViewSet, "throttle_classes", [ThrottleAll])

    assert len(differences(requests)) == 1


def test_a_middleware_in_front_of_only_django_is_detected(
    requests: list[ClientRequest], settings: LazySettings
) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "mlapi.tests.fast_lane.test_unequal_changes.add_header",
    ]
    handler = WSGIHandler()
    handler.load_middleware()

    assert len(differences(requests, django=handler)) == 1


def add_header(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        assert isinstance(response, HttpResponse)
        response.headers["X-Added"] = "yes"
        return response

    return middleware


def test_a_required_field_of_only_the_serializer_is_detected(
    requests: list[ClientRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithReason(PredictionRequest):
        reason = serializers.CharField()

    monkeypatch.setattr("predictions.views.PREDICTION_REQUEST", WithReason())

    assert len(differences(requests)) == 1


def test_what_the_fast_lane_replaces_has_not_changed(settings: LazySettings) -> None:
    """Comparing responses would not detect an addition that lets these requests pass.

    If you change one of these lists, decide what the change means for `mlapi/fast_lane/`, then
    update the list here.
    """
    assert settings.MIDDLEWARE == [
        "mlapi.middleware.ContentLengthMiddleware",
        "mlapi.middleware.RequestIDMiddleware",
        "mlapi.middleware.AccessLogMiddleware",
        "mlapi.pages.content_security.ContentSecurityPolicyMiddleware",
        "corsheaders.middleware.CorsMiddleware",
        "mlapi.server.overload.OverloadMiddleware",
        "mlapi.bodies.middleware.RequestBodyMiddleware",
        "mlapi.bodies.compression.CompressionMiddleware",
        "mlapi.proxies.probes.HttpsMiddleware",
        "mlapi.proxies.prefixes.CookiePathMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "mlapi.middleware.AdminSessionMiddleware",
        "mlapi.proxies.probes.HostMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "mlapi.middleware.AdminAuthenticationMiddleware",
        "mlapi.middleware.AdminMessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "axes.middleware.AxesMiddleware",
    ]
    for view in (PredictionViewSet, InferView):
        assert view.permission_classes == [IsAuthenticated]
        assert view.throttle_classes == []
    assert set(PREDICTION_REQUEST.fields) == {
        "model_id",
        "model",
        "input_data",
        "metadata",
        "subject",
        "reference",
    }
