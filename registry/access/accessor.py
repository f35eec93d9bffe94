"""`Accessor`: who asks, in every check of rights and in the audit trail."""

from dataclasses import dataclass
from typing import Self

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from rest_framework.request import Request

from registry.models import ApiKey


@dataclass(frozen=True, slots=True)
class Accessor:
    """A user, and the API key if they sent one. Without a user: a command, which may do
    everything.
    """

    user: User | None = None
    key: ApiKey | None = None
    request_id: str = ""

    @classmethod
    def of(cls, request: HttpRequest | Request) -> Self:
        """The accessor of a request whose user has been read from the database."""
        user = request.user
        if isinstance(user, AnonymousUser):
            raise TypeError("Rights are checked after authentication")
        assert isinstance(user, User)
        key, request_id = getattr(request, "auth", None), getattr(request, "request_id", "")
        if isinstance(key, ApiKey):
            # The request's own user has none of the owner's Django permissions beyond the scopes.
            return cls(key.owner, key, request_id)
        return cls(user, None, request_id)


# Commands and what the service does on its own.
SYSTEM = Accessor()
