"""DRF's authentication classes: bearer tokens and API keys, with and without a query."""

import time
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import (
    JWTAuthentication,
    JWTStatelessUserAuthentication,
)
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from predictions.authentication import api_keys
from registry.access.keys import values
from registry.models import ApiKey

SCHEME = "bearer"
SCHEME_LENGTH = len(SCHEME) + 1
CACHED_TOKENS = 4096
# A token has a few hundred characters; longer headers would let a client fill the memory.
MAX_CACHED_CHARACTERS = 2048


class _AnyCaseScheme:
    """Accepts `bearer` in any case: RFC 9110 compares schemes without regard to it."""

    def get_raw_token(self, header: bytes) -> bytes | None:
        parts = header.split()
        if parts and parts[0].lower() == SCHEME.encode():
            header = b" ".join([api_settings.AUTH_HEADER_TYPES[0].encode(), *parts[1:]])
        token: bytes | None = super().get_raw_token(header)  # type: ignore[misc]
        return token


class TokenAuthentication(_AnyCaseScheme, JWTAuthentication):
    """Verifies a token or an API key with a query.

    The query checks that a token's user is active and its password the same, or that a key and its
    owner are active.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        value = key_in(request.META.get("HTTP_AUTHORIZATION", ""))
        if value is None:
            return super().authenticate(request)
        key = api_keys.find(value)
        api_keys.count_use(key, request.META)
        return api_keys.user_of(key), key


class CachedTokenAuthentication(_AnyCaseScheme, JWTStatelessUserAuthentication):
    """Verifies a token's signature once and its expiry every time, and looks a key up once.

    A client sends the same token with thousands of requests; verifying it took longer than scoring
    with a small model. The recording statement checks that the user is still active, the key still
    valid, and that both have the right; the exception handler does for requests that are not
    recorded.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        return verify(request.META) or super().authenticate(request)


def key_in(header: str) -> str | None:
    """The API key in an Authorization header; None if it has none."""
    if header[:SCHEME_LENGTH].lower() != "bearer ":
        return None
    value = header[SCHEME_LENGTH:].strip()
    return value if value.startswith(values.SCHEME) else None


def verify(environ: dict[str, Any]) -> tuple[TokenUser, Token | ApiKey] | None:
    """The user and token or key of a request, without a query; None unless its Authorization header
    is a bearer token of a usual length that has not expired.

    Raises AuthenticationFailed or InvalidToken for a token or key that is not valid, RateLimited
    for a key whose limit is used up.
    """
    header: str = environ.get("HTTP_AUTHORIZATION", "")
    if header[:SCHEME_LENGTH].lower() != "bearer " or len(header) > MAX_CACHED_CHARACTERS:
        return None
    if (value := key_in(header)) is not None:
        key = api_keys.find_remembered(value)
        api_keys.count_use(key, environ)
        return _user_of(key.owner_id), key
    verified = _verify_signature(header)
    expires_at = verified[1].payload["exp"] + settings.TOKEN_LEEWAY_SECONDS
    return verified if expires_at > time.time() else None


def _user_of(user_id: int) -> TokenUser:
    # All that the views read of it is the ID.
    return TokenUser(cast(Token, {api_settings.USER_ID_CLAIM: user_id}))


@lru_cache(CACHED_TOKENS)
def _verify_signature(header: str) -> tuple[TokenUser, Token]:
    # lru_cache does not cache exceptions: an invalid token is verified again each time.
    authentication = CachedTokenAuthentication()
    raw_token = authentication.get_raw_token(header.encode("iso-8859-1"))
    assert raw_token is not None  # the header is known to be a bearer token
    token = authentication.get_validated_token(raw_token)
    return cast(TokenUser, authentication.get_user(token)), token
