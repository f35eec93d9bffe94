"""Keeps in memory what callers are about to need: the versions that aliases use, then the newest.

A thread of each worker reads every few seconds which versions are live. It loads those that are
new, so that a version that was registered or promoted beside a running server is in memory soon;
it protects them from eviction, and forgets versions that may no longer answer. Requests take no
query for any of this.
"""

import logging
import threading
import time
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from registry.loading import loader
from registry.loading.cache import LoadedModel, expected_bytes
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.loading.limits import refresh_limits
from registry.metrics import QUARANTINED_MODELS
from registry.models import Alias, AliasShadow, ModelNotFound, ModelVersion
from registry.runtimes.base import InferenceError, Interruptible
from registry.signatures.synthetic_rows import synthesize_arrays

logger = logging.getLogger(__name__)

PASS_SECONDS = 3.0
# Reading a large file that cannot be loaded costs a second, so not in every pass.
RETRY_SECONDS = 30.0
NOT_READ = "(the live versions have not been read yet)"


class _Pending:
    """What is still to be loaded, as the thread last saw it; read by readiness."""

    def __init__(self) -> None:
        self.specifiers: list[str] = []
        self.failed_at: dict[int, float] = {}


_pending = _Pending()


def start() -> threading.Thread:
    """Start the thread; it never ends."""
    _pending.specifiers = [NOT_READ]
    thread = threading.Thread(target=_run, name="warm-models", daemon=True)
    thread.start()
    return thread


def unloaded_live_versions() -> list[str]:
    """The live versions, as `name:version`, that this worker should load but has not yet.

    Not among them are versions that do not fit the cache, and those that could not be loaded: these
    are tried again, but answer nothing meanwhile. Always empty in a process without the thread.
    """
    return list(_pending.specifiers)


def preload() -> None:
    """Load the live versions, and then the newest ones as far as the cache has room.

    Each scores a row, so that its library is imported. A version that cannot be loaded is logged
    and skipped.
    """
    try:
        live = live_versions()
        _load_live(live)
        # The newest one last: it is evicted last.
        for version in reversed(_newest_that_fit()):
            _load(version)
    finally:
        connection.close()


def refresh() -> None:
    """One pass of the thread."""
    try:
        _forget_unusable()
        refresh_limits()
        _load_live(live_versions())
    finally:
        connection.close()


def live_versions() -> list[ModelVersion]:
    """The active versions that aliases use: those that answer, then canaries, then shadows."""
    usable = ModelVersion.objects.active().exclude(artifact="").filter(quarantined_at=None)
    roles: tuple[Any, ...] = (
        Alias.objects.values_list("version"),
        Alias.objects.exclude(canary=None).values_list("canary"),
        AliasShadow.objects.values_list("version"),
    )
    rows = (row for ids in roles for row in usable.filter(pk__in=ids).order_by("-pk"))
    return list(dict.fromkeys(rows))


def _newest_that_fit() -> list[ModelVersion]:
    """The newest versions for which the cache has room beside what is in it."""
    sizes = {model.version.pk: model.size_bytes for model in loader.cache.models()}
    usable = ModelVersion.objects.active().exclude(artifact="").filter(quarantined_at=None)
    newest = usable.exclude(pk__in=list(sizes)).newest_first()
    fitting: list[ModelVersion] = []
    for version in newest[: settings.MODEL_CACHE_SIZE]:
        sizes[version.pk] = expected_bytes(version)
        if not loader.cache.fits(len(sizes), sum(sizes.values())):
            break
        fitting.append(version)
    return fitting


def _run() -> None:
    is_first = True
    while True:
        try:
            preload() if is_first else refresh()
            is_first = False
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The live versions cannot be read: %s", error)
        except Exception:
            logger.exception("The live versions could not be loaded")
        time.sleep(PASS_SECONDS)


def _forget_unusable() -> None:
    """Drop models that may not answer any more, or that must move to a process of their own."""
    QUARANTINED_MODELS.set(ModelVersion.objects.active().exclude(quarantined_at=None).count())
    models = {model.version.pk: model for model in loader.cache.models()}
    rows = ModelVersion.objects.active().filter(pk__in=models, quarantined_at=None)
    suspects = dict(rows.values_list("pk", "is_suspect"))
    loader.cache.drop(
        [
            pk
            for pk, model in models.items()
            if pk not in suspects or suspects[pk] != model.version.is_suspect
        ]
    )


def _load_live(live: list[ModelVersion]) -> None:
    loader.cache.keep([version.pk for version in live])
    wanted: list[ModelVersion] = []
    size_bytes = 0
    loaded = {model.version.pk: model.size_bytes for model in loader.cache.models()}
    for version in live:
        size_bytes += loaded.get(version.pk, expected_bytes(version))
        if not loader.cache.fits(len(wanted) + 1, size_bytes):
            break
        wanted.append(version)
    now = time.monotonic()
    failed = {pk: at for pk, at in _pending.failed_at.items() if now - at < RETRY_SECONDS}
    missing = [v for v in wanted if v.pk not in loaded and v.pk not in failed]
    is_watched = bool(_pending.specifiers) or missing
    for place, version in enumerate(missing):
        if is_watched:
            # Those that failed once do not hold readiness back while they are tried again.
            _pending.specifiers = [
                str(v) for v in missing[place:] if v.pk not in _pending.failed_at
            ]
        _load(version)
    _pending.specifiers = []


def _load(version: ModelVersion) -> None:
    try:
        _use(loader.get(version.pk))
        _pending.failed_at.pop(version.pk, None)
    except (ArtifactMissing, ModelNotFound, ModelNotReady, ModelQuarantined) as error:
        # The loader has logged it, too, but not each time.
        logger.debug("%s is not loaded: %s", version, error)
        _pending.failed_at[version.pk] = time.monotonic()
    except (DatabaseError, InterfaceError):
        raise
    except Exception:
        # A library may raise anything; the other versions are loaded all the same.
        logger.exception("%s could not be loaded, or did not score a made-up row", version)
        _pending.failed_at[version.pk] = time.monotonic()


def _use(model: LoadedModel) -> None:
    """Score one row, since libraries import and allocate in their first call."""
    if isinstance(model.runtime, Interruptible) and model.version.framework == "open-inference":
        return
    try:
        model.runtime.predict(synthesize_arrays(model.signature, {}, 1, guess="constant"))
    except InferenceError as error:
        logger.debug("%s does not take a made-up row: %s", model.version, error)
