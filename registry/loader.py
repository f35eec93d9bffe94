"""The models in this process's memory: few, verified, each loaded once however many ask."""

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings
from django.db import connection

from registry.artifacts import store
from registry.metrics import LOAD_SECONDS, LOADED_MODELS
from registry.models import ModelNotFound, ModelVersion
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    SECRET_PREFIX,
    LoadError,
    LoadOptions,
    RemoteOptions,
    Runtime,
)
from registry.signatures.signature import Signature

logger = logging.getLogger(__name__)


class ArtifactMissing(Exception):
    """The version has no artifact yet; the message is for the caller."""


class ModelNotReady(Exception):
    """The version's artifact can not be served now; the message is for the caller."""

    retry_after = 10


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A version's runtime with the signature that was proved when its artifact was attached.

    Of `version` only what never changes may be used: the row lives on, and this copy does not.
    """

    version: ModelVersion
    runtime: Runtime
    signature: Signature


class ModelCache:
    """At most `capacity` loaded models by version id; the least recently used one goes.

    Threads that ask for a model while it loads wait for that one load. The new model is in memory
    before an old one leaves, so that a full cache never answers slower than it must.
    """

    def __init__(self, load: Callable[[int], LoadedModel], capacity: int) -> None:
        self._load = load
        self._capacity = capacity
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, LoadedModel] = OrderedDict()
        self._loading: dict[int, Future[LoadedModel]] = {}

    def get(self, model_id: int) -> LoadedModel:
        """The version's model, loaded now if it is not; raises what the load raises."""
        with self._lock:
            model = self._loaded.get(model_id)
            if model is not None:
                self._loaded.move_to_end(model_id)
                return model
            future = self._loading.get(model_id)
            if is_first := future is None:
                future = self._loading[model_id] = Future()
        if is_first:
            return self._load_first(model_id, future)
        # The load that is waited for may need it.
        give_back_connection()
        return future.result()

    def models(self) -> list[LoadedModel]:
        """What is in memory, least recently used first."""
        with self._lock:
            return list(self._loaded.values())

    def _load_first(self, model_id: int, future: Future[LoadedModel]) -> LoadedModel:
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
    secrets = {n: value for n, value in os.environ.items() if n.startswith(SECRET_PREFIX)}
    return LoadOptions(
        trusted_types=frozenset(settings.SKLEARN_TRUSTED_TYPES),
        remote=RemoteOptions(frozenset(settings.REMOTE_ORIGINS), secrets),
    )


def give_back_connection() -> None:
    """Let others have this thread's connection, before a wait for them or for a file.

    The next query takes one again. Inside a transaction it stays.
    """
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _load_active(model_id: int) -> LoadedModel:
    """Load the file that was registered, and no other: its digest is compared first."""
    version = ModelVersion.objects.resolve(model_id)
    give_back_connection()
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {model_id} has no artifact yet")
    try:
        path = store.resolve(Path(settings.MODEL_PATH), version.artifact)
        if store.digest(path) != version.sha256:
            logger.error("Artifact of %s has changed on disk: not served", version)
            raise ModelNotReady(f"Model {model_id}: its artifact has changed on disk")
        signature = Signature.from_json(version.signature)
        options = replace(load_options(), proven=signature)
        with LOAD_SECONDS.labels(version.framework).time():
            runtime = runtime_module(version.framework).load(path, options)
    except (LoadError, OSError, ValueError) as error:
        logger.exception("Artifact of %s can not be loaded", version)
        raise ModelNotReady(f"Model {model_id}: its artifact can not be loaded") from error
    logger.info("Loaded %s", version)
    return LoadedModel(version, runtime, signature)


cache = ModelCache(_load_active, settings.MODEL_CACHE_SIZE)


def get(model_id: int) -> LoadedModel:
    """The loaded model of a version.

    A model in memory costs no query, and its version may have been deactivated since: what is made
    of it must be recorded, which decides. Raises ModelNotFound, ArtifactMissing or ModelNotReady.
    """
    return cache.get(model_id)


def loaded() -> list[str]:
    """The models in this process's memory, as `name:version`, least recently used first."""
    return [str(model.version) for model in cache.models()]


def warm() -> None:
    """Load the newest active versions, as many as the cache holds, so that no caller waits for it.

    A model that can not be loaded is logged and passed over.
    """
    try:
        newest = ModelVersion.objects.active().exclude(artifact="").newest_first()
        ids = list(newest.values_list("pk", flat=True)[: settings.MODEL_CACHE_SIZE])
        for model_id in reversed(ids):
            with contextlib.suppress(ModelNotFound, ModelNotReady):
                get(model_id)
    finally:
        connection.close()


def apart(model_id: int) -> LoadedModel:
    """The loaded model of an active version, for work beside serving: one that is not in memory is
    loaded for this caller alone and displaces none that is.

    Raises what `get` does.
    """
    held = (model for model in cache.models() if model.version.pk == model_id)
    return next(held, None) or _load_active(model_id)
