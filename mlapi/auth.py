"""Token endpoints, and the lock-out that they share with the admin's login."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, cast

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.serializers import (
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
    TokenVerifySerializer,
)
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView, TokenVerifyView

from mlapi.accounts.logins import record_login
from mlapi.problems import Problem
from mlapi.proxies.addresses import client_address
from mlapi.rest.parsers import JSONParser
from predictions.authentication import RefreshToken, UntypedToken

MAX_USERNAME_LENGTH = 150  # As in Django's User.
MAX_PASSWORD_LENGTH = 4096
MAX_TOKEN_LENGTH = 8192


class Credentials(serializers.Serializer[object]):
    username = serializers.CharField(max_length=MAX_USERNAME_LENGTH)
    password = serializers.CharField(
        max_length=MAX_PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"}
    )


class TokenPair(serializers.Serializer[object]):
    access = serializers.CharField(help_text="Send it as `Authorization: Bearer ...`.")
    refresh = serializers.CharField(help_text="Exchange it for a new access token.")


class RefreshRequest(serializers.Serializer[object]):
    refresh = serializers.CharField(max_length=MAX_TOKEN_LENGTH)


class AccessToken(serializers.Serializer[object]):
    access = serializers.CharField()


class AnyToken(serializers.Serializer[object]):
    token = serializers.CharField(max_length=MAX_TOKEN_LENGTH)


class LoginSerializer(TokenObtainPairSerializer):
    """Exchanges credentials for a pair of tokens; failures count towards the lock-out."""

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        tokens: dict[str, str] = super().validate(attrs)
        record_login(
            cast(User, self.user),
            getattr(self.context["request"], "request_id", ""),
            target="token",
        )
        # Issuing a token does not send Django's login signal, on which axes resets the failures.
        AxesProxyHandler.reset_attempts(
            username=attrs["username"], ip_address=client_address(self.context["request"])
        )
        return tokens


class RefreshSerializer(TokenRefreshSerializer):
    """Exchanges a refresh token for an access token; 401 if the user no longer exists."""

    token_class = RefreshToken

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        try:
            tokens: dict[str, str] = super().validate(attrs)
        except ObjectDoesNotExist as error:
            raise AuthenticationFailed(self.error_messages["no_active_account"]) from error
        return tokens


class VerifySerializer(TokenVerifySerializer):
    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        UntypedToken(attrs["token"])
        return {}


class TokenView(TokenObtainPairView):
    serializer_class = LoginSerializer
    parser_classes = [JSONParser]

    def get_serializer_context(self) -> dict[str, object]:
        # axes marks the request that it gets, and its middleware checks Django's request.
        return {**super().get_serializer_context(), "request": self.request._request}

    @extend_schema(
        operation_id="auth_token",
        request=Credentials,
        responses={
            200: TokenPair,
            401: OpenApiResponse(),
            429: OpenApiResponse(),
        },
        auth=[],
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Exchange a username and password for an access token and a refresh token."""
        Credentials(data=request.data).is_valid(raise_exception=True)
        return super().post(request, *args, **kwargs)


class RefreshView(TokenRefreshView):
    serializer_class = RefreshSerializer
    parser_classes = [JSONParser]

    @extend_schema(
        operation_id="auth_refresh",
        request=RefreshRequest,
        responses={200: AccessToken, 401: OpenApiResponse()},
        auth=[],
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Exchange a refresh token for a new access token."""
        RefreshRequest(data=request.data).is_valid(raise_exception=True)
        return super().post(request, *args, **kwargs)


class VerifyView(TokenVerifyView):
    serializer_class = VerifySerializer
    parser_classes = [JSONParser]

    @extend_schema(
        operation_id="auth_verify",
        request=AnyToken,
        responses={200: OpenApiResponse(description="The token is valid."), 401: OpenApiResponse()},
        auth=[],
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Check that this service issued a token and that it has not expired."""
        AnyToken(data=request.data).is_valid(raise_exception=True)
        return super().post(request, *args, **kwargs)


def lockout_response(
    request: HttpRequest, original: HttpResponse | None, credentials: dict[str, str] | None
) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE: the same response at the token endpoint and in the admin."""
    cooloff: timedelta = settings.AXES_COOLOFF_TIME
    seconds = int(cooloff.total_seconds())
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"Too many failed logins. Try again in {-(-seconds // 60)} minutes.",
        headers={"Retry-After": str(seconds)},
    ).response(request)
