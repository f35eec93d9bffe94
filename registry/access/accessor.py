"""`Accessor`: who asks, in every check of rights and in the audit trail."""

from dataclasses import dataclass
from typing import Self

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from rest_framework.request import Request

from registry.models import ApiKey


@dataclass(frozen=True, slots=True)
class Accessor:
    """A user, who may have sent an API key of theirs. Without a user: a command, which may do
    everything.
    """

    user: User | None = None
    key: ApiKey | None = None
    request_id: str = ""

    @classmethod
    def of(cls, request: HttpRequest | Request) -> Self:
        """Who makes a request whose user has been read from the database."""
        user = request.user
        if isinstance(user, AnonymousUser):
            raise TypeError("Rights are checked after authentication")
        assert isinstance(user, User)
        key = getattr(request, "auth", None)
        return cls(
            user,
            key if isinstance(key, ApiKey) else None,
            getattr(request, "request_id", ""),
        )


# Commands and what the service does on its own.
SYSTEM = Accessor()
