"""The loaded models of this process: verified before loading, and kept in a small cache."""

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from django.conf import settings
from django.db import connection

from registry.artifacts import store
from registry.metrics import LOAD_SECONDS, LOADED_MODELS
from registry.models import ModelNotFound, ModelVersion
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    SECRET_PREFIX,
    Interruptible,
    LoadError,
    LoadOptions,
    RemoteOptions,
    Runtime,
)
from registry.signatures.signature import Output, Signature

logger = logging.getLogger(__name__)


class ArtifactMissing(Exception):
    """The version has no artifact yet. The message can be shown to the caller."""


class ModelNotReady(Exception):
    """The version's artifact cannot be loaded now. The message can be shown to the caller."""

    retry_after = 10


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A version's runtime, with the signature that was proved when its artifact was attached.

    `version` is a copy from the time of loading. Use only its fields that never change, and its
    limits, which `refresh_limits` keeps up to date.
    """

    version: ModelVersion
    runtime: Runtime
    signature: Signature

    @cached_property
    def interruptible(self) -> Interruptible | None:
        """The runtime, if its calls can be given up. Cached: the check is slower than a model."""
        return self.runtime if isinstance(self.runtime, Interruptible) else None


class ModelCache:
    """At most `capacity` loaded models by version id; the least recently used one is evicted.

    Threads that request a model while it is being loaded wait for that one load. A model is evicted
    only once the new one is in memory, so that it serves requests until then.
    """

    def __init__(self, load: Callable[[int], LoadedModel], capacity: int) -> None:
        self._load = load
        self._capacity = capacity
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, LoadedModel] = OrderedDict()
        self._loading: dict[int, Future[LoadedModel]] = {}

    def find(self, model_id: int) -> LoadedModel | None:
        """The version's model if it is in memory."""
        with self._lock:
            model = self._loaded.get(model_id)
            if model is not None:
                self._loaded.move_to_end(model_id)
            return model

    def get(self, model_id: int, *, wait_seconds: float | None = None) -> LoadedModel:
        """The version's model, loaded now if necessary; raises what loading raises.

        A thread that waits for another's load raises ModelNotReady after `wait_seconds`. The load
        itself cannot be interrupted.
        """
        if (model := self.find(model_id)) is not None:
            return model
        with self._lock:
            # It may have been loaded since.
            if (model := self._loaded.get(model_id)) is not None:
                return model
            future = self._loading.get(model_id)
            if is_first := future is None:
                future = self._loading[model_id] = Future()
        if is_first:
            return self._load_for_all(model_id, future)
        # The loading thread may need a connection, and the pool may have no other.
        release_connection()
        if not wait([future], wait_seconds).done:
            raise ModelNotReady(f"Model {model_id} is still being loaded")
        return future.result()

    def models(self) -> list[LoadedModel]:
        """The models in memory, least recently used first."""
        with self._lock:
            return list(self._loaded.values())

    def _load_for_all(self, model_id: int, future: Future[LoadedModel]) -> LoadedModel:
        try:
            model = self._load(model_id)
        except BaseException as error:
            with self._lock:
                del self._loading[model_id]
            future.set_exception(error)
            raise
        with self._lock:
            self._loaded[model_id] = model
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
            LOADED_MODELS.set(len(self._loaded))
            del self._loading[model_id]
        future.set_result(model)
        return model


def load_options() -> LoadOptions:
    """The settings that loading a model depends on."""
    secrets = {n: value for n, value in os.environ.items() if n.startswith(SECRET_PREFIX)}
    return LoadOptions(
        trusted_types=frozenset(settings.SKLEARN_TRUSTED_TYPES),
        remote=RemoteOptions(frozenset(settings.REMOTE_ORIGINS), secrets),
    )


def release_connection() -> None:
    """Return this thread's database connection to the pool before a long wait.

    The next query takes one again. Inside a transaction the connection is kept.
    """
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _load_active(model_id: int) -> LoadedModel:
    """Load the model of an active version, after checking that its file has not changed."""
    version = ModelVersion.objects.resolve(model_id)
    release_connection()
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {model_id} has no artifact yet")
    try:
        path = store.resolve(Path(settings.MODEL_PATH), version.artifact)
        if store.digest(path) != version.sha256:
            logger.error("Artifact of %s has changed on disk and is not loaded", version)
            raise ModelNotReady(f"Model {model_id}: its artifact has changed on disk")
        signature = Signature.from_json(version.signature)
        options = replace(load_options(), proven=signature)
        with LOAD_SECONDS.labels(version.framework).time():
            runtime = runtime_module(version.framework).load(path, options)
        _require_same_outputs(runtime.signature, signature)
    except (LoadError, OSError, ValueError) as error:
        logger.exception("Artifact of %s cannot be loaded", version)
        raise ModelNotReady(f"Model {model_id}: its artifact cannot be loaded") from error
    logger.info("Loaded %s", version)
    return LoadedModel(version, runtime, signature)


def _require_same_outputs(found: Signature, stored: Signature) -> None:
    """Raise LoadError unless the runtime reads the file's outputs as it did at registration.

    A later release of mlapi may read them differently; then the stored signature would misread its
    arrays.
    """
    is_unbatched = [signature.batching == "unbatched" for signature in (found, stored)]
    if (
        len(found.outputs) != len(stored.outputs)
        or not all(map(_is_same_output, found.outputs, stored.outputs))
        or is_unbatched[0] != is_unbatched[1]
    ):
        raise LoadError(
            "this release of mlapi reads the file's outputs differently than the one that "
            "registered it: run manage.py reprove_models, or register the file again"
        )


def _is_same_output(found: Output, stored: Output) -> bool:
    if found.name != stored.name:
        return False
    # An output that only claims to be probabilities is stored as a value.
    if (found.kind, stored.kind) == ("probabilities", "value"):
        return True
    # Classes that the file only numbers may have been given names.
    is_numbered = found.classes == tuple(range(len(stored.classes)))
    return found.kind == stored.kind and (is_numbered or found.classes == stored.classes)


cache = ModelCache(_load_active, settings.MODEL_CACHE_SIZE)


def find(model_id: int) -> LoadedModel | None:
    """The model of a version if it is in memory, without a query.

    The version may have been deactivated since: recording a prediction checks that again.
    """
    return cache.find(model_id)


def get(model_id: int, *, wait_seconds: float | None = None) -> LoadedModel:
    """The loaded model of an active version; in memory or not, as of `find`.

    Raises ModelNotFound, ArtifactMissing or ModelNotReady; the latter also if another thread's load
    takes longer than `wait_seconds`.
    """
    return cache.get(model_id, wait_seconds=wait_seconds)


def loaded_specifiers() -> list[str]:
    """The models in this process's memory, as `name:version`, least recently used first."""
    return [str(model.version) for model in cache.models()]


def preload() -> None:
    """Fill the cache with the newest active versions, so that the first requests do not wait.

    A model that cannot be loaded is logged and skipped.
    """
    try:
        newest = ModelVersion.objects.active().exclude(artifact="").newest_first()
        ids = list(newest.values_list("pk", flat=True)[: settings.MODEL_CACHE_SIZE])
        for model_id in reversed(ids):
            with contextlib.suppress(ModelNotFound, ModelNotReady):
                get(model_id)
    finally:
        connection.close()


def load_uncached(model_id: int) -> LoadedModel:
    """The loaded model of an active version, without changing the cache.

    For work other than serving, which must not evict models that are being served. A model in the
    cache is reused. Raises what `get` raises.
    """
    cached = (model for model in cache.models() if model.version.pk == model_id)
    return next(cached, None) or _load_active(model_id)
