"""What this process knows of registered models that are private or have a rate limit.

It may be some seconds old. The recording statement decides about rights; this only saves the work
of scoring for callers that it would refuse, and hides how long that takes.
"""

from typing import NamedTuple

from django.db.models import Q

from registry.access.background import Background
from registry.models import RegisteredModel

SECONDS_BETWEEN_READS = 10.0


class Policy(NamedTuple):
    id: int
    is_private: bool
    rate_limit: int | None


class Policies:
    """The policies of registered models by name; most have none, and cost a look-up in a dict."""

    def __init__(self) -> None:
        self._policies: dict[str, Policy] | None = None
        self._background = Background("model-policies", self.read, SECONDS_BETWEEN_READS)

    def of(self, name: str) -> Policy | None:
        """The policy of a model, None if it is neither private nor limited.

        The first call of a process reads them; later ones have them read in the background.
        """
        if self._policies is None:
            self.read()
        self._background.poke()
        assert self._policies is not None
        return self._policies.get(name)

    def is_known_private(self, name: str) -> bool:
        """Whether a model was private when this process last read, if it ever has; no query."""
        policy = (self._policies or {}).get(name)
        return policy is not None and policy.is_private

    def read(self) -> None:
        rows = RegisteredModel.objects.filter(Q(is_private=True) | Q(rate_limit__isnull=False))
        columns = rows.values_list("name", "pk", "is_private", "rate_limit")
        self._policies = {name: Policy(pk, private, limit) for name, pk, private, limit in columns}


POLICIES = Policies()
