"""Which version answers a request: the id it gives, or what its reference means at this moment."""

import hashlib
from dataclasses import dataclass

from predictions.models import Prediction
from registry.models import CHAMPION, Alias, ModelVersion, Route


@dataclass(frozen=True, slots=True)
class Target:
    """The version that answers, which arm of which alias it is, and the versions that shadow it."""

    model_id: int
    alias: str | None = None
    arm: str | None = None
    shadow_ids: tuple[int, ...] = ()


def resolve(reference: str, *, subject: str) -> Target:
    """What `name` (its champion), `name@alias` or `name:version` means now, in one query.

    Under a canary the subject decides, and always alike. Raises ModelNotFound.
    """
    name, colon, version = reference.partition(":")
    if colon:
        return Target(ModelVersion.objects.id_of(name, version))
    name, at, alias = reference.partition("@")
    return _arm(Alias.objects.route(name, alias if at else CHAMPION), subject)


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
