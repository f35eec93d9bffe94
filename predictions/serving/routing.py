"""Which version answers a request: the id it gives, or what its reference means at this moment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from predictions.models import Prediction
from predictions.serving.batching import Batcher
from predictions.serving.lanes import MAX_JOINED_CALLS
from registry.models import CHAMPION, Alias, ModelNotFound, ModelVersion, Route


@dataclass(frozen=True, slots=True)
class Target:
    """The version that answers, which arm of which alias it is, and the versions that shadow it."""

    model_id: int
    alias: str | None = None
    arm: str | None = None
    shadow_ids: tuple[int, ...] = ()


def resolve(reference: str, *, subject: str) -> Target:
    """What `name` (its champion), `name@alias` or `name:version` means now, in one query at most.

    Under a canary the subject decides, and always alike. Raises ModelNotFound.
    """
    meant = _lookups(reference)
    return _arm(meant, subject) if isinstance(meant, Route) else Target(meant)


def _look_up(references: Sequence[str]) -> list[Route | int | Exception]:
    """What each reference means: a route, or a version's id."""
    found = {reference: _meaning(reference) for reference in set(references)}
    return [found[reference] for reference in references]


def _meaning(reference: str) -> Route | int | Exception:
    name, colon, version = reference.partition(":")
    try:
        if colon:
            return ModelVersion.objects.active_id(name, version)
        name, at, alias = reference.partition("@")
        return Alias.objects.route(name, alias if at else CHAMPION)
    except ModelNotFound as error:
        return error


# Callers who come while one asks the database share the next query. It begins after all of them
# came, so that each sees every move that was answered before.
_lookups: Batcher[str, Route | int] = Batcher(_look_up, limit=MAX_JOINED_CALLS)


def _arm(route: Route, subject: str) -> Target:
    if route.canary_id is not None and share_of(subject, route.salt) < (route.canary_percent or 0):
        return Target(route.canary_id, route.alias, Prediction.Arm.CANARY.value, route.shadow_ids)
    return Target(route.version_id, route.alias, Prediction.Arm.PRIMARY.value, route.shadow_ids)


def share_of(subject: str, salt: str) -> float:
    """Where a subject falls from 0 to 100, evenly over subjects; another salt deals them anew.

    The first 64 bits of SHA-256: the same in every process and after every restart.
    """
    digest = hashlib.sha256(f"{salt}:{subject}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * 100
