"""`Question`: what a request asks, besides its inputs."""

from dataclasses import dataclass, field
from typing import Self

from rest_framework.request import Request
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from predictions.serving import routing
from predictions.serving.idempotency import Claim
from predictions.serving.records import Record
from predictions.serving.routing import Target
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.loading.cache import LoadedModel


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request; a command has no user."""

    user_id: int | None = None
    request_id: str = ""
    password_md5: str | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        """The caller of an authenticated request."""
        request_id = getattr(request, "request_id", "")
        return cls(int(request.user.pk or 0), request_id, password_claim(request.auth))


def password_claim(token: object) -> str:
    """What an access token claims about the password it was issued under.

    A token without the claim counts as one with a wrong claim.
    """
    if not isinstance(token, Token):
        return ""
    return str(token.payload.get(api_settings.REVOKE_TOKEN_CLAIM, ""))


@dataclass(slots=True, kw_only=True)
class Question:
    """Who asks, which version, about which subject, with which metadata and idempotency key.

    Give either `model_id` or `model`, a model specifier (`name`, `name@alias` or `name:version`).
    Target and model are resolved once, when first needed, and then stay the same: all rows of a
    request are answered by one version.
    """

    caller: Caller = field(default_factory=Caller)
    model_id: int | None = None
    model: str | None = None
    subject: str | None = None
    metadata: JSONObject | None = None
    claim: Claim | None = None
    _target: Target | None = field(init=False, default=None)
    _loaded: LoadedModel | None = field(init=False, default=None)

    @property
    def target(self) -> Target:
        """The version that answers; raises ModelNotFound.

        Without a subject, each request counts as a subject of its own.
        """
        if self._target is None:
            if self.model_id is not None:
                self._target = Target(self.model_id)
            else:
                assert self.model is not None  # one of the two is required
                subject = self.subject or self.caller.request_id
                self._target = routing.resolve(self.model, subject=subject)
        return self._target

    @property
    def loaded(self) -> LoadedModel:
        """The target's model; raises ModelNotFound, ArtifactMissing or ModelNotReady."""
        if self._loaded is None:
            self._loaded = loader.get(self.target.model_id)
        return self._loaded

    def resolve(self) -> None:
        """Resolve target and model now; raises what `loaded` does."""
        _ = self.loaded

    def record(self, input_data: object, reference: str | None = None) -> Record:
        """The unanswered record of one input."""
        return Record(
            self.loaded.version,
            input_data,
            self.metadata,
            self.caller.request_id,
            self.caller.user_id,
            self.caller.password_md5,
            reference,
            self.subject,
            self.target.alias,
            self.target.arm,
            _claim=self.claim,
        )
