"""Token endpoints, and the lock-out that they share with the admin's login."""

from collections.abc import Mapping
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
from rest_framework_simplejwt.settings import api_settings as jwt_settings
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView, TokenVerifyView

from mlapi.accounts.logins import record_login
from mlapi.error_format import Problem
from mlapi.proxies.addresses import client_address
from mlapi.rest.parsers import FormParser, JSONParser
from predictions.authentication import RefreshToken, UntypedToken

MAX_USERNAME_LENGTH = 150  # As in Django's User.
MAX_PASSWORD_LENGTH = 4096
MAX_TOKEN_LENGTH = 8192
# No proxy or browser may keep tokens.
NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Credentials(serializers.Serializer[object]):
    username = serializers.CharField(max_length=MAX_USERNAME_LENGTH)
    password = serializers.CharField(
        max_length=MAX_PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"}
    )


class PasswordGrant(serializers.Serializer[object]):
    """The same as a form, as OAuth2 clients send it; other parameters of theirs are ignored."""

    grant_type = serializers.ChoiceField(choices=["password"])
    username = serializers.CharField()
    password = serializers.CharField(style={"input_type": "password"})
    scope = serializers.CharField(required=False)


class AccessToken(serializers.Serializer[object]):
    access = serializers.CharField(help_text="Send it as `Authorization: Bearer ...`.")
    access_token = serializers.CharField(help_text="The same, by its name in OAuth2.")
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds for which the access token is valid.")


class TokenPair(AccessToken):
    refresh = serializers.CharField(help_text="Exchange it for a new access token.")
    refresh_token = serializers.CharField(help_text="The same, by its name in OAuth2.")


class GrantError(serializers.Serializer[object]):
    """An error of the form, as RFC 6749 defines it."""

    error = serializers.ChoiceField(
        choices=["invalid_request", "invalid_grant", "unsupported_grant_type"]
    )
    error_description = serializers.CharField()


class RefreshRequest(serializers.Serializer[object]):
    refresh = serializers.CharField(max_length=MAX_TOKEN_LENGTH)


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


class GrantRefused(Exception):
    """A form is refused; `code` is what RFC 6749 (5.2) calls the error."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


class TokenView(TokenObtainPairView):
    serializer_class = LoginSerializer
    parser_classes = [JSONParser, FormParser]

    def get_serializer_context(self) -> dict[str, object]:
        # axes marks the request that it gets, and its middleware checks Django's request.
        return {**super().get_serializer_context(), "request": self.request._request}

    @extend_schema(
        operation_id="auth_token",
        request={"application/json": Credentials, FormParser.media_type: PasswordGrant},
        responses={
            200: TokenPair,
            (400, "application/json"): GrantError,
            401: OpenApiResponse(),
            429: OpenApiResponse(),
        },
        auth=[],
    )
    def post(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Exchange a username and password for an access token and a refresh token.

        Errors of the form have the format of OAuth2 (RFC 6749, 5.2), all others that of this API.
        """
        if request.content_type.startswith(FormParser.media_type):
            return self._answer_form(request)
        Credentials(data=request.data).is_valid(raise_exception=True)
        return self._respond(cast(dict[str, object], request.data))

    def _answer_form(self, request: Request) -> Response:
        try:
            return self._respond(_credentials_of(request.data))
        except GrantRefused as error:
            code, description = error.code, str(error)
        except AuthenticationFailed:
            code, description = "invalid_grant", "No active account has this name and password."
        document = {"error": code, "error_description": description}
        return Response(document, status=HTTPStatus.BAD_REQUEST, headers=NOT_STORED)

    def _respond(self, credentials: Mapping[str, object]) -> Response:
        serializer = self.get_serializer(data=credentials)
        serializer.is_valid(raise_exception=True)
        return Response(_named_as_in_oauth(serializer.validated_data), headers=NOT_STORED)


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
        response = super().post(request, *args, **kwargs)
        return Response(_named_as_in_oauth(response.data), headers=NOT_STORED)


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


def _credentials_of(form: Any) -> dict[str, str]:
    """Username and password of an OAuth2 form; raises GrantRefused."""
    if repeated := sorted(name for name in form if len(form.getlist(name)) > 1):
        raise GrantRefused("invalid_request", f"{repeated[0][:50]}: Must not be repeated.")
    grant_type = form.get("grant_type", "")
    if not grant_type:
        raise GrantRefused("invalid_request", "grant_type: This field is required.")
    if grant_type != "password":
        raise GrantRefused("unsupported_grant_type", "grant_type: Must be password.")
    credentials = {name: form[name] for name in ("username", "password") if name in form}
    serializer = Credentials(data=credentials)
    if not serializer.is_valid():
        name, messages = next(iter(serializer.errors.items()))
        raise GrantRefused("invalid_request", f"{name}: {messages[0]}")
    return credentials


def _named_as_in_oauth(tokens: Mapping[str, str]) -> dict[str, object]:
    """The tokens of a response, also by their names in OAuth2 (RFC 6749, 5.1)."""
    lifetime: timedelta = jwt_settings.ACCESS_TOKEN_LIFETIME
    named: dict[str, object] = {
        **tokens,
        "access_token": tokens["access"],
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }
    if "refresh" in tokens:
        named["refresh_token"] = tokens["refresh"]
    return named


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
