"""Authenticates prediction requests by their token alone, without a query."""

import time
from functools import lru_cache
from typing import Any, cast

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.tokens import Token

BEARER = "Bearer "
CACHED_TOKENS = 4096
# A token has a few hundred characters; longer headers would let a client fill the memory.
MAX_CACHED_CHARACTERS = 2048


class CachedTokenAuthentication(JWTStatelessUserAuthentication):
    """Verifies a token's signature once, and its expiry every time.

    A client sends the same token with thousands of requests; verifying it took longer than scoring
    with a small model. The recording statement checks that the user is still active.
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
    if not header.startswith(BEARER) or len(header) > MAX_CACHED_CHARACTERS:
        return None
    verified = _verify_signature(header)
    return verified if verified[1].payload["exp"] > time.time() else None


@lru_cache(CACHED_TOKENS)
def _verify_signature(header: str) -> tuple[TokenUser, Token]:
    # lru_cache does not cache exceptions: an invalid token is verified again each time.
    authentication = JWTStatelessUserAuthentication()
    raw_token = authentication.get_raw_token(header.encode("iso-8859-1"))
    assert raw_token is not None  # the header is known to be a bearer token
    token = authentication.get_validated_token(raw_token)
    return cast(TokenUser, authentication.get_user(token)), token
