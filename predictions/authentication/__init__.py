"""Bearer tokens and API keys: who makes a request."""

from predictions.authentication.classes import (
    CachedTokenAuthentication,
    TokenAuthentication,
    verify,
)
from predictions.authentication.errors import error_for
from predictions.authentication.tokens import AccessToken, RefreshToken, UntypedToken

__all__ = [
    "AccessToken",
    "CachedTokenAuthentication",
    "RefreshToken",
    "TokenAuthentication",
    "UntypedToken",
    "error_for",
    "verify",
]
