"""`Question`: what a request asks, besides its inputs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Self

from django.conf import settings
from rest_framework.request import Request
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from predictions.serving import guards, routing
from predictions.serving.guards import Asked, Identity
from predictions.serving.idempotency import Claim
from predictions.serving.limits.bulkheads import loading_place
from predictions.serving.limits.deadlines import Deadline, arrival, read_timeout
from predictions.serving.records import Record, metadata_for_log
from predictions.serving.routing import Target
from registry.access.policies import POLICIES
from registry.database import clock, statements
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.loading.cache import LoadedModel
from registry.models import ApiKey


# Not frozen: that makes each of the many that are created several times as slow.
@dataclass(slots=True)
class Caller:
    """Who makes a request, and how long they wait; a command has no user and waits for ever.

    `arrived_at` is the monotonic time at which the request arrived, and `timeout_seconds` what the
    caller allows from then on, None if that is left to the version. `asked` is what the question
    is about, once it has been resolved: from then on, an error may tell something of that model.
    """

    user_id: int | None = None
    request_id: str = ""
    password_md5: str | None = None
    api_key_id: int | None = None
    arrived_at: float | None = None
    timeout_seconds: float | None = None
    asked: Asked | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        """The caller of an authenticated request; raises InvalidTimeout."""
        caller = cls.identified_by(request)
        caller.arrived_at = arrival(request.META)
        caller.timeout_seconds = read_timeout(request.META)
        # For the exception handler, which must know what the caller asked.
        request._request.caller = caller  # type: ignore[attr-defined]
        return caller

    @classmethod
    def identified_by(cls, request: Request) -> Self:
        """Who makes an authenticated request, not how long they wait."""
        user_id, request_id = int(request.user.pk or 0), getattr(request, "request_id", "")
        if isinstance(request.auth, ApiKey):
            return cls(user_id, request_id, api_key_id=request.auth.pk)
        return cls(user_id, request_id, password_claim(request.auth))

    @property
    def identity(self) -> Identity:
        return Identity(self.user_id, self.password_md5, self.api_key_id)

    def shorten(self, seconds: float) -> None:
        """Wait for at most this long in all."""
        self.timeout_seconds = min(seconds, self.timeout_seconds or seconds)

    def deadline(self, limit_seconds: float) -> Deadline | None:
        """When the caller must have an answer from a version that has this limit."""
        if self.arrived_at is None:
            return None
        if self.timeout_seconds is not None:
            limit_seconds = min(limit_seconds, self.timeout_seconds)
        return Deadline(self.arrived_at + limit_seconds, limit_seconds)


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
    _logged_metadata: JSONObject | None = field(init=False, default=None)

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
                # Before the version's own limit is known. Others may share the query.
                deadline = self.caller.deadline(settings.PREDICTION_TIMEOUT_SECONDS)
                with statements.limited_by(deadline and deadline.at):
                    self._target = routing.resolve(self.model, subject=subject)
            self.caller.asked = self.asked
        return self._target

    @property
    def asked(self) -> Asked:
        return Asked(self.target.model_id, self.model)

    @property
    def loaded(self) -> LoadedModel:
        """The target's model; raises ModelNotFound, ArtifactMissing, ModelNotReady, ModelOverloaded
        or what `guards.admit` does.
        """
        if self._loaded is None:
            model_id = self.target.model_id
            loaded = loader.find(model_id) or self._load(model_id)
            policy = POLICIES.of(loaded.version.name)
            if policy is not None and self.caller.user_id is not None:
                guards.admit(self.caller.identity, self.asked, policy)
            self._loaded = loaded
        return self._loaded

    @property
    def deadline(self) -> Deadline | None:
        """When the caller must have its answer; None for a command."""
        seconds = self.loaded.version.timeout_seconds
        return self.caller.deadline(seconds or settings.PREDICTION_TIMEOUT_SECONDS)

    @property
    def max_concurrency(self) -> int:
        """How many callers may hold a thread while the version is slow."""
        limit: int = self.loaded.version.max_concurrency or settings.MAX_CONCURRENT_PER_MODEL
        return limit

    def restarted(self) -> Self:
        """The same question as if it arrived now: each chunk of a stream has its own time."""
        if self.caller.arrived_at is None:
            return self
        question = replace(self, caller=replace(self.caller, arrived_at=time.monotonic()))
        question._target, question._loaded = self.target, self.loaded
        return question

    def _load(self, model_id: int) -> LoadedModel:
        if self.caller.user_id is not None:
            # Loading takes so long that a query more does not matter.
            guards.require_right(self.caller.identity, self.asked)
        # The version's own limits are not known yet.
        deadline = self.caller.deadline(settings.PREDICTION_TIMEOUT_SECONDS)
        with loading_place(model_id, settings.MAX_CONCURRENT_PER_MODEL):
            seconds = None if deadline is None else max(0.0, deadline.at - time.monotonic())
            return loader.get(model_id, wait_seconds=seconds)

    def resolve(self) -> None:
        """Resolve target and model now; raises what `loaded` does."""
        _ = self.loaded

    @property
    def logged_metadata(self) -> JSONObject | None:
        """The metadata as the log has it, masked once for all rows."""
        if self._logged_metadata is None:
            self._logged_metadata = metadata_for_log(self.metadata)
        return self._logged_metadata

    def record(self, input_data: object, reference: str | None = None) -> Record:
        """The unanswered record of one input."""
        return self.records([input_data], [reference])[0]

    def records(
        self, inputs: Sequence[object], references: Sequence[str | None] = ()
    ) -> list[Record]:
        """The unanswered records of inputs that arrived together, with the same time.

        `references` has one for each input, or none at all.
        """
        caller, target, created_at = self.caller, self.target, clock.now()
        version, masks, metadata = self.loaded.version, self.loaded.masks, self.logged_metadata
        return [
            Record(
                version,
                input_data,
                metadata,
                caller.request_id,
                caller.user_id,
                caller.password_md5,
                caller.api_key_id,
                reference,
                self.subject,
                target.alias,
                target.arm,
                created_at=created_at,
                _claim=self.claim,
                _masks=masks,
                _specifier=self.model,
            )
            for input_data, reference in zip(
                inputs, references or repeat(None, len(inputs)), strict=True
            )
        ]
