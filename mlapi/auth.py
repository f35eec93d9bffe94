"""Tokens, and the lock-out that the token endpoint shares with the admin."""

import ipaddress
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
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

from mlapi.problems import Problem
from mlapi.rest.parsers import JSONParser

MAX_USERNAME_LENGTH = 150  # Django's own column
MAX_PASSWORD_LENGTH = 4096
MAX_TOKEN_LENGTH = 8192


class Credentials(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=MAX_USERNAME_LENGTH)
    password = serializers.CharField(
        max_length=MAX_PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"}
    )


class TokenPair(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For `Authorization: Bearer ...`.")
    refresh = serializers.CharField(help_text="Gets a new access token.")


class RefreshToken(serializers.Serializer[Any]):
    refresh = serializers.CharField(max_length=MAX_TOKEN_LENGTH)


class AccessToken(serializers.Serializer[Any]):
    access = serializers.CharField()


class AnyToken(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=MAX_TOKEN_LENGTH)


class LockedOutTokenSerializer(TokenObtainPairSerializer):
    """Credentials for a pair of tokens, counted by the lock-out."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        tokens: dict[str, str] = super().validate(attrs)
        # Issuing a token is no login in Django's sense: it sends no signal that would reset these.
        AxesProxyHandler.reset_attempts(
            username=attrs["username"], ip_address=client_address(self.context["request"])
        )
        return tokens


class RefreshSerializer(TokenRefreshSerializer):
    """A refresh token for an access token, 401 where its user is gone."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        try:
            tokens: dict[str, str] = super().validate(attrs)
        except ObjectDoesNotExist as error:
            raise AuthenticationFailed(self.error_messages["no_active_account"]) from error
        return tokens


class TokenView(TokenObtainPairView):
    serializer_class = LockedOutTokenSerializer
    parser_classes = [JSONParser]

    def get_serializer_context(self) -> dict[str, Any]:
        # Django's request: axes marks the one it gets, and its middleware looks at this one.
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
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Log in: a username and password for a pair of tokens."""
        Credentials(data=request.data).is_valid(raise_exception=True)
        return super().post(request, *args, **kwargs)


class RefreshView(TokenRefreshView):
    serializer_class = RefreshSerializer
    parser_classes = [JSONParser]

    @extend_schema(
        operation_id="auth_refresh",
        request=RefreshToken,
        responses={200: AccessToken, 401: OpenApiResponse()},
        auth=[],
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Get a new access token."""
        RefreshToken(data=request.data).is_valid(raise_exception=True)
        return super().post(request, *args, **kwargs)


class VerifyView(TokenVerifyView):
    serializer_class = TokenVerifySerializer
    parser_classes = [JSONParser]

    @extend_schema(
        operation_id="auth_verify",
        request=AnyToken,
        responses={200: OpenApiResponse(description="The token is valid."), 401: OpenApiResponse()},
        auth=[],
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Check that a token was issued here and has not expired."""
        AnyToken(data=request.data).is_valid(raise_exception=True)
        return super().post(request, *args, **kwargs)


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address, or None on a unix socket.

    Each trusted proxy appends the address it saw to X-Forwarded-For, so that of all entries the
    n-th from the right is the client's, and everything left of it is the client's own claim.
    """
    count: int = settings.TRUSTED_PROXY_COUNT
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    remote = _address(request.META.get("REMOTE_ADDR", ""))
    if not count or len(forwarded) < count:
        return remote
    return _address(forwarded[-count]) or remote


def _address(text: str) -> str | None:
    try:
        # A zone (`fe80::1%eth0`) is of this machine only, and PostgreSQL stores none.
        return str(ipaddress.ip_address(text.strip().partition("%")[0]))
    except ValueError:
        return None


def lockout_response(
    request: HttpRequest, original: HttpResponse | None, credentials: dict[str, Any] | None
) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE: the same answer at the token endpoint and the admin."""
    cooloff: timedelta = settings.AXES_COOLOFF_TIME
    seconds = int(cooloff.total_seconds())
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"Too many failed logins: try again in {-(-seconds // 60)} minutes at the latest.",
        headers={"Retry-After": str(seconds)},
    ).response(request)
