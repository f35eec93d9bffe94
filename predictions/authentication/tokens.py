"""Tokens whose claims are read strictly."""

from collections.abc import Mapping
from typing import Any, cast

from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

TIME_CLAIMS = ("exp", "iat", "nbf")
# The end of the year 9999, the last that a datetime can hold.
MAX_TIMESTAMP = 253_402_300_799
MAX_USER_ID = 2**63 - 1


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
