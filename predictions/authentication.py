"""Bearer tokens: read strictly, and for prediction requests verified without a query."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError
from rest_framework.request import Request
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.authentication import (
    JWTAuthentication,
    JWTStatelessUserAuthentication,
)
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from predictions.serving.limits.bulkheads import ModelOverloaded
from predictions.serving.questions import Caller
from predictions.serving.recorder import CallerInactive
from predictions.serving.services import PredictionFailed

SCHEME = "bearer"
PREFIX_LENGTH = len(SCHEME) + 1
CACHED_TOKENS = 4096
# A token has a few hundred characters; longer headers would let a client fill the memory.
MAX_CACHED_CHARACTERS = 2048

TIME_CLAIMS = ("exp", "iat", "nbf")
# The end of the year 9999, the last that a datetime can hold.
MAX_TIMESTAMP = 253_402_300_799
MAX_USER_ID = 2**63 - 1


# -- claims


class _StrictClaims:
    """Makes a class of tokens raise TokenError for whatever claims a signed token has.

    simplejwt takes the claims of a token with a valid signature as they are, but another service
    that shares the key may have written it.
    """

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        try:
            super().__init__(token, verify)  # type: ignore[call-arg]
        except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
            raise TokenError("Token is invalid") from error

    def verify(self) -> None:
        check_claims(cast(Token, self).payload)
        super().verify()  # type: ignore[misc]


class AccessToken(_StrictClaims, tokens.AccessToken):
    pass


class RefreshToken(_StrictClaims, tokens.RefreshToken):  # type: ignore[misc]
    access_token_class = AccessToken


class UntypedToken(_StrictClaims, tokens.UntypedToken):
    pass


def check_claims(claims: Mapping[str, object]) -> None:
    """Raise TokenError unless every claim that is used later has a type and a range that fit."""
    for name in TIME_CLAIMS:
        value = claims.get(name, 0)
        if type(value) not in (int, float) or not 0 <= cast(float, value) <= MAX_TIMESTAMP:
            raise TokenError(f"Token has an invalid claim {name!r}")
    user_id = claims.get(api_settings.USER_ID_CLAIM)
    if isinstance(user_id, str) and user_id.isascii() and user_id.isdecimal():
        user_id = int(user_id) if len(user_id) < 20 else None
    if type(user_id) is not int or not 0 < user_id <= MAX_USER_ID:
        raise TokenError("Token contained no recognizable user identification")
    password = claims.get(api_settings.REVOKE_TOKEN_CLAIM, "")
    if not isinstance(password, str) or not (password.isascii() and password.isprintable()):
        raise TokenError(f"Token has an invalid claim {api_settings.REVOKE_TOKEN_CLAIM!r}")


# -- authentication


class _AnyCaseScheme:
    """Accepts `bearer` in any case: RFC 9110 compares schemes without regard to it."""

    def get_raw_token(self, header: bytes) -> bytes | None:
        parts = header.split()
        if parts and parts[0].lower() == SCHEME.encode():
            header = b" ".join([api_settings.AUTH_HEADER_TYPES[0].encode(), *parts[1:]])
        token: bytes | None = super().get_raw_token(header)  # type: ignore[misc]
        return token


class TokenAuthentication(_AnyCaseScheme, JWTAuthentication):
    """Verifies a token, and with a query that its user is active and its password the same."""


class CachedTokenAuthentication(_AnyCaseScheme, JWTStatelessUserAuthentication):
    """Verifies a token's signature once, and its expiry every time.

    A client sends the same token with thousands of requests; verifying it took longer than scoring
    with a small model. The recording statement checks that the user is still active, and the
    exception handler does for requests that are not recorded.
    """

    def authenticate(self, request: Request) -> tuple[Any, Token] | None:
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is not None and (verified := verify(header)):
            return verified
        return super().authenticate(request)


def verify(header: str) -> tuple[TokenUser, Token] | None:
    """The user and token of an Authorization header, or None if the header is not a bearer token of
    a usual length that has not expired.

    Raises AuthenticationFailed or InvalidToken for a token that is not valid.
    """
    if header[:PREFIX_LENGTH].lower() != "bearer " or len(header) > MAX_CACHED_CHARACTERS:
        return None
    verified = _verify_signature(header)
    expires_at = verified[1].payload["exp"] + settings.TOKEN_LEEWAY_SECONDS
    return verified if expires_at > time.time() else None


@lru_cache(CACHED_TOKENS)
def _verify_signature(header: str) -> tuple[TokenUser, Token]:
    # lru_cache does not cache exceptions: an invalid token is verified again each time.
    authentication = CachedTokenAuthentication()
    raw_token = authentication.get_raw_token(header.encode("iso-8859-1"))
    assert raw_token is not None  # the header is known to be a bearer token
    token = authentication.get_validated_token(raw_token)
    return cast(TokenUser, authentication.get_user(token)), token


# -- callers whose token was verified without a query


# The first two come from recording, which checks the caller itself. The others tell nothing, and
# another query would only add to what the service is short of.
CHECKED_OR_HARMLESS = (
    CallerInactive,
    PredictionFailed,
    ModelOverloaded,
    OperationalError,
    InterfaceError,
)


def error_for(caller: Caller, error: Exception) -> Exception:
    """The error to report to a caller whose request failed before anything was recorded.

    An error may tell something of a model, such as the names of its features. So it is
    CallerInactive if the caller's user is inactive or the token was revoked, and the database's
    error if that cannot be found out.
    """
    if isinstance(error, CHECKED_OR_HARMLESS):
        return error
    try:
        is_active = _is_active(caller)
    except (OperationalError, InterfaceError) as unavailable:
        return unavailable
    return error if is_active else CallerInactive("User is inactive, or the token was revoked")


def _is_active(caller: Caller) -> bool:
    """As the guards of the recording statement decide it."""
    users = get_user_model().objects.filter(pk=caller.user_id or 0, is_active=True)
    password = users.values_list("password", flat=True).first()
    return password is not None and get_md5_hash_password(password) == caller.password_md5
