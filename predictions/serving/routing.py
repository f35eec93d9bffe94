"""Resolves a model specifier to the version that answers a request at the moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from predictions.models import Prediction
from predictions.serving.arms import share_of
from predictions.serving.batching import Batcher
from predictions.serving.lanes import MAX_JOINED_CALLS
from registry.models import CHAMPION, Alias, ModelNotFound, ModelVersion, Route


@dataclass(slots=True)
class Target:
    """The version that answers, the alias and arm it answers for, and its shadows."""

    model_id: int
    alias: str | None = None
    arm: str | None = None
    shadow_ids: tuple[int, ...] = ()


def resolve(specifier: str, *, subject: str) -> Target:
    """What `name` (its champion), `name@alias` or `name:version` resolves to now, in at most one
    query.

    With a canary, a subject always gets the same arm. Raises ModelNotFound.
    """
    resolved = _lookups(specifier)
    return _choose_arm(resolved, subject) if isinstance(resolved, Route) else Target(resolved)


def _look_up(specifiers: Sequence[str]) -> list[Route | int | Exception]:
    """What each specifier resolves to: the route of an alias, or a version's id."""
    results = {specifier: _look_up_one(specifier) for specifier in set(specifiers)}
    return [results[specifier] for specifier in specifiers]


def _look_up_one(specifier: str) -> Route | int | Exception:
    name, colon, version = specifier.partition(":")
    try:
        if colon:
            return ModelVersion.objects.active_id(name, version)
        name, at, alias = specifier.partition("@")
        return Alias.objects.route(name, alias if at else CHAMPION)
    except ModelNotFound as error:
        return error


# Callers that arrive while one queries the database share the next query. It begins after they
# have all arrived, so each sees every move of an alias that was confirmed before.
_lookups: Batcher[str, Route | int] = Batcher(_look_up, limit=MAX_JOINED_CALLS)


def _choose_arm(route: Route, subject: str) -> Target:
    if route.canary_id is not None and share_of(subject, route.salt) < (route.canary_percent or 0):
        return Target(route.canary_id, route.alias, Prediction.Arm.CANARY.value, route.shadow_ids)
    return Target(route.version_id, route.alias, Prediction.Arm.PRIMARY.value, route.shadow_ids)
