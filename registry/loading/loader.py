"""Loads the models of versions, after verifying their files, and keeps them in this process."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from django.conf import settings

from registry.artifacts.errors import StorageFull, StorageUnavailable
from registry.isolation.black_box import (
    VARIABLE,
    BlackBox,
    WatchedRuntime,
    left_behind,
    watch_signals,
)
from registry.isolation.runtime import IsolatedRuntime, Isolation
from registry.loading import quarantine
from registry.loading.cache import LoadedModel as LoadedModel
from registry.loading.cache import ModelCache as ModelCache
from registry.loading.cache import release_connection as release_connection
from registry.loading.errors import ArtifactMissing as ArtifactMissing
from registry.loading.errors import ModelNotReady as ModelNotReady
from registry.loading.errors import ModelQuarantined as ModelQuarantined
from registry.metrics import LOAD_SECONDS
from registry.models import ModelVersion
from registry.object_storage import urls
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    SECRET_PREFIX,
    LoadError,
    LoadOptions,
    RemoteOptions,
    Runtime,
    hazard_of,
)
from registry.runtimes.registered import require_same_outputs
from registry.signatures.signature import Signature
from registry.storage import files
from registry.storage.stores.base import ArtifactDamaged

logger = logging.getLogger(__name__)

# For a call in a process of its own, if nothing else limits it.
MAX_CALL_SECONDS = 24 * 3600.0
LOG_AGAIN_SECONDS = 60.0
# When the failure to load a version was last logged, by id.
_failures_logged: dict[int, float] = {}


def load_options() -> LoadOptions:
    """The settings that loading a model depends on."""
    secrets = {n: value for n, value in os.environ.items() if n.startswith(SECRET_PREFIX)}
    return LoadOptions(
        trusted_types=frozenset(settings.SKLEARN_TRUSTED_TYPES),
        remote=RemoteOptions(frozenset(settings.REMOTE_ORIGINS), secrets),
    )


def _load_active(model_id: int) -> LoadedModel:
    """Load the model of an active version, after checking that its file has not changed."""
    return _load(ModelVersion.objects.resolve(model_id))


def _load(version: ModelVersion) -> LoadedModel:
    model_id = version.pk
    release_connection()
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {model_id} has no artifact yet")
    quarantine.require_released(version)
    try:
        signature = Signature.from_json(version.signature)
        with files.local_file(version) as path, LOAD_SECONDS.labels(version.framework).time():
            runtime = _load_runtime(version, path, signature)
        require_same_outputs(runtime.signature, signature)
    except FileNotFoundError as error:
        _log_failure(version, f"is missing: there is no {_place(version)}")
        raise ModelNotReady(f"Model {model_id}: its artifact is missing") from error
    except ArtifactDamaged as error:
        _log_failure(version, f"is not loaded: {error}")
        raise ModelNotReady(f"Model {model_id}: {error}") from error
    except (StorageUnavailable, StorageFull) as error:
        _log_failure(version, f"cannot be fetched: {error.__cause__ or error}")
        raise ModelNotReady(f"Model {model_id}: its artifact cannot be fetched") from error
    except (LoadError, OSError, ValueError) as error:
        _log_failure(version, "cannot be loaded", error)
        raise ModelNotReady(f"Model {model_id}: its artifact cannot be loaded") from error
    logger.info("Loaded %s", version)
    return LoadedModel(version, runtime, signature)


def _place(version: ModelVersion) -> str:
    is_in_folder = not urls.is_url(version.artifact)
    return f"{version.artifact} in MODEL_PATH" if is_in_folder else version.artifact


def _load_runtime(version: ModelVersion, path: Path, signature: Signature) -> Runtime:
    """The version's runtime: in this process if it is known to do no harm; raises LoadError.

    Every other one gets a process that can be killed. A call of a remote model can be given up.
    """
    policy, framework = settings.MODEL_ISOLATION, version.framework
    options = replace(load_options(), proven=signature)
    if framework == "open-inference":
        return runtime_module(framework).load(path, options)
    hazard = "it has crashed or hung, or may have" if version.is_suspect else ""
    if policy == "never" or (policy == "auto" and not hazard):
        load = partial(runtime_module(framework).load, path, options)
        runtime = black_box.load(version.pk, load)
        hazard = hazard_of(runtime)
        if policy == "never" or not hazard:
            return WatchedRuntime(runtime, version.pk, black_box)
        # Before its own process needs the memory for the model.
        del runtime
    logger.info("%s is scored in a process of its own: %s", version, hazard or "MODEL_ISOLATION")
    return IsolatedRuntime(
        Isolation(
            name=str(version),
            open_file=partial(_reopened, version),
            framework=framework,
            signature=version.signature,
            trusted_types=options.trusted_types,
            memory_bytes=settings.PROOF_MEMORY_BYTES,
            load_seconds=settings.PROOF_TIMEOUT_SECONDS,
            call_seconds=settings.HUNG_CALL_SECONDS or MAX_CALL_SECONDS,
        ),
        version.libraries,
        partial(_count_crash, version.pk),
    )


@contextmanager
def _reopened(version: ModelVersion) -> Iterator[Path]:
    """The version's file, for each start of its process: a cached one may have been evicted.

    Raises LoadError, whose message callers see.
    """
    with ExitStack() as stack:
        try:
            path = stack.enter_context(files.local_file(version))
        except (OSError, ValueError) as error:
            _log_failure(version, f"cannot be opened: {error.__cause__ or error}")
            raise LoadError("The model's artifact is not available now") from error
        finally:
            release_connection()
        yield path


def _count_crash(version_id: int, reason: str) -> bool:
    """Whether the version may be scored again."""
    is_quarantined = quarantine.count_crash(version_id, reason)
    # The next call finds out whether it is in quarantine now.
    cache.drop([version_id])
    release_connection()
    return not is_quarantined


def _log_failure(version: ModelVersion, problem: str, error: Exception | None = None) -> None:
    """Log why a version cannot be loaded, but not again for every request that needs it."""
    now = time.monotonic()
    if now - _failures_logged.get(version.pk, -LOG_AGAIN_SECONDS) >= LOG_AGAIN_SECONDS:
        _failures_logged[version.pk] = now
        logger.error("Artifact of %s %s", version, problem, exc_info=error)


cache = ModelCache(_load_active, settings.MODEL_CACHE_SIZE, settings.MODEL_CACHE_BYTES)
black_box_path = os.environ.get(VARIABLE)
black_box = BlackBox(Path(black_box_path) if black_box_path else None)
if black_box_path:
    watch_signals(Path(black_box_path))


def note_earlier_deaths() -> None:
    """Draw the conclusions from the deaths of the workers whose place this one has taken."""
    if black_box_path:
        for path in left_behind(Path(black_box_path)):
            quarantine.note_death(path)
    release_connection()


def find(model_id: int) -> LoadedModel | None:
    """The model of a version if it is in memory, without a query.

    The version may have been deactivated since: recording a prediction checks that again.
    """
    return cache.find(model_id)


def get(model_id: int, *, wait_seconds: float | None = None) -> LoadedModel:
    """The loaded model of an active version; in memory or not, as of `find`.

    Raises ModelNotFound, ArtifactMissing, ModelQuarantined or ModelNotReady; the last also if
    another thread's load takes longer than `wait_seconds`.
    """
    return cache.get(model_id, wait_seconds=wait_seconds)


def loaded_specifiers() -> list[str]:
    """The models in this process's memory, as `name:version`, least recently used first."""
    return [str(model.version) for model in cache.models()]


def load_uncached(model_id: int) -> LoadedModel:
    """The loaded model of an active version, without changing the cache.

    For work other than serving, which must not evict models that are being served. A model in the
    cache is reused. Raises what `get` raises.
    """
    return _in_cache(model_id) or _load_active(model_id)


def load_recorded(version: ModelVersion) -> LoadedModel:
    """Like `load_uncached`, for a version that may have been deactivated since it was used."""
    return _in_cache(version.pk) or _load(version)


def _in_cache(model_id: int) -> LoadedModel | None:
    cached = (model for model in cache.models() if model.version.pk == model_id)
    return next(cached, None)
