"""Who asks for a prediction: told by the token alone, without a query."""

import time
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.tokens import Token

BEARER = "Bearer "
REMEMBERED_TOKENS = 4096
# A token has a few hundred; headers of any length would fill the memory.
MAX_REMEMBERED_CHARACTERS = 2048


class RememberingAuthentication(JWTStatelessUserAuthentication):
    """Verifies a token's signature once, and its expiry every time.

    A client sends the same token with thousands of requests; verifying it took longer than scoring
    a small model. Whether the user is still active is for the recorder to ask.
    """

    def authenticate(self, request: Request | HttpRequest) -> Any:
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        if header.startswith(BEARER) and len(header) <= MAX_REMEMBERED_CHARACTERS:
            known = _verified(header)
            if known[1].payload["exp"] > time.time():
                return known
        # Says why not, or is no token's.
        return JWTStatelessUserAuthentication.authenticate(self, request)  # type: ignore[arg-type]


@lru_cache(REMEMBERED_TOKENS)
def _verified(header: str) -> tuple[Any, Token]:
    # Exceptions are not remembered: what is invalid is looked at again.
    by_token = JWTStatelessUserAuthentication()
    raw_token = by_token.get_raw_token(header.encode("iso-8859-1"))
    assert raw_token is not None  # the scheme was looked at
    token = by_token.get_validated_token(raw_token)
    return by_token.get_user(token), token
