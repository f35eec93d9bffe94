"""Who is let in before a model is loaded or scores: the recording statement decides only later."""

import time

from predictions.serving.guards.checks import Asked, Identity, check
from registry.access.limits import LIMITER
from registry.access.policies import Policy
from registry.loading.cache import release_connection
from registry.models import RateUsage

# For how long, and for how many, this process remembers who had the right to a private model. A
# right that is lost meanwhile is noticed by the recording statement.
REMEMBERED_SECONDS = 60.0
MAX_REMEMBERED = 10_000

# Until when, by the monotonic clock.
_admitted: dict[tuple[Identity, int], float] = {}


def admit(identity: Identity, asked: Asked, policy: Policy) -> None:
    """Let a caller use a loaded version of a model that is private or has a rate limit.

    Raises RateLimited if the model's limit is used up. A private model does not score for callers
    without a right to it: the time that would take would tell that it exists. Raises what
    `check` returns for them.
    """
    if policy.is_private and time.monotonic() > _admitted.get((identity, asked.model_id), 0.0):
        require_right(identity, asked)
    if policy.rate_limit is not None:
        LIMITER.take(RateUsage.Kind.MODEL, policy.id, policy.rate_limit)


def require_right(identity: Identity, asked: Asked) -> None:
    """Raise what `check` returns, if anything."""
    reason = check(identity, asked)
    # The caller that loads the model, or commits for all waiting ones, may need the connection.
    release_connection()
    if reason:
        raise reason
    if len(_admitted) >= MAX_REMEMBERED:
        _admitted.clear()
    _admitted[identity, asked.model_id] = time.monotonic() + REMEMBERED_SECONDS
