"""Who asks for a prediction: told by the token alone, without a query."""

from functools import lru_cache
from typing import Any

from django.utils import timezone
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.tokens import Token

REMEMBERED_TOKENS = 4096


class RememberingAuthentication(JWTStatelessUserAuthentication):
    """Verifies a token's signature once, and its expiry every time.

    A client sends the same token with thousands of requests; verifying it took longer than scoring
    a small model. Whether the user is still active is for the recorder to ask.
    """

    def get_validated_token(self, raw_token: bytes) -> Any:
        token = _verified(raw_token)
        try:
            # By itself it compares with the time at which the token was first seen.
            token.check_exp(current_time=timezone.now())
        except TokenError as error:
            raise InvalidToken({"detail": str(error), "messages": []}) from error
        return token


@lru_cache(REMEMBERED_TOKENS)
def _verified(raw_token: bytes) -> Token:
    # Exceptions are not remembered: what is invalid is looked at again.
    return JWTStatelessUserAuthentication().get_validated_token(raw_token)
