"""The kinds of jobs. Each room registers its own in AppConfig.ready()."""

from collections.abc import Callable
from dataclasses import dataclass

from predictions.jobs.running import RunningJob
from registry.access.accessor import Accessor
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject
from registry.models import Right

DEFAULT_MAX_ATTEMPTS = 5


class UnknownKind(LookupError):
    """No room has registered this kind of job; the message is for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """What a job of this kind takes, who may ask for it, and what it does.

    `require_rights` gets the accessor and the validated parameters, raises PermissionDenied or what
    a request would be answered with 404 or 409 for, and returns the name of the registered model
    that the job is about ("" for none). It is called when the job is created, and again each time
    that a worker starts it: rights may have been taken away meanwhile.

    `run` does the work and returns the result, as exact JSON. It may be called again with the
    cursor of the last checkpoint, and with none if there was none, at any moment after a crash: it
    must not do anything twice.

    Jobs of others are shown to those with `right` on the job's model (or with `permission`, which
    is Django's permission for all models). Without a `right`, `permission` alone decides, and API
    keys have no access.

    After an exception of `retried`, the job is tried again, up to `max_attempts` times without
    progress; database errors are always retried. One of `explained` ends the job at once, even if
    its class is derived from one of `retried`, and its message is shown to the caller. Any other
    exception ends it as well, and is only in the log.

    `redact` replaces what identifies people in the parameters of a job that has finished.
    """

    name: str
    description: str
    parameters: type[StrictSerializer]
    require_rights: Callable[[Accessor, JSONObject], str]
    run: Callable[[RunningJob], JSONObject]
    right: Right | None = None
    permission: str | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    retried: tuple[type[Exception], ...] = ()
    explained: tuple[type[Exception], ...] = ()
    redact: Callable[[JSONObject], JSONObject] | None = None


_kinds: dict[str, JobKind] = {}


def register(kind: JobKind) -> None:
    """Add a kind of job; one of the same name is replaced."""
    _kinds[kind.name] = kind


def registered() -> list[JobKind]:
    """All kinds, by name."""
    return [_kinds[name] for name in sorted(_kinds)]


def get(name: str) -> JobKind | None:
    """The kind of this name; None if this release has no such kind any more."""
    return _kinds.get(name)


def find(name: str) -> JobKind:
    """Raises UnknownKind."""
    if name not in _kinds:
        raise UnknownKind(
            f"There is no kind of job {name!r}: choose one of {', '.join(sorted(_kinds))}"
        )
    return _kinds[name]
