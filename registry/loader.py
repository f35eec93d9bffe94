"""The models in this process's memory: few, verified, each loaded once however many ask."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection

from registry import artifacts
from registry.metrics import LOAD_SECONDS, LOADED_MODELS
from registry.models import ModelVersion
from registry.runtimes import runtime_module
from registry.runtimes.base import LoadError, LoadOptions, Runtime
from registry.signature import Signature

logger = logging.getLogger(__name__)


class ArtifactMissing(Exception):
    """The version has no artifact yet; the message is for the caller."""


class ModelNotReady(Exception):
    """The version's artifact can not be served now; the message is for the caller."""

    retry_after = 10


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version's runtime with the signature that was proved when its artifact was attached."""

    reference: str
    runtime: Runtime
    signature: Signature


class ModelCache:
    """At most `capacity` loaded models by version id; the least recently used one goes.

    Threads that ask for a model while it loads wait for that one load. The new model is in memory
    before an old one leaves, so that a full cache never answers slower than it must.
    """

    def __init__(self, load: Callable[[ModelVersion], LoadedModel], capacity: int) -> None:
        self._load = load
        self._capacity = capacity
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, LoadedModel] = OrderedDict()
        self._loading: dict[int, Future[LoadedModel]] = {}

    def get(self, version: ModelVersion) -> LoadedModel:
        """The version's model, loaded now if it is not; raises what the load raises."""
        with self._lock:
            model = self._loaded.get(version.pk)
            if model is not None:
                self._loaded.move_to_end(version.pk)
                return model
            future = self._loading.get(version.pk)
            if is_first := future is None:
                future = self._loading[version.pk] = Future()
        return self._load_first(version, future) if is_first else future.result()

    def references(self) -> list[str]:
        with self._lock:
            return [model.reference for model in self._loaded.values()]

    def _load_first(self, version: ModelVersion, future: Future[LoadedModel]) -> LoadedModel:
        try:
            model = self._load(version)
        except BaseException as error:
            with self._lock:
                del self._loading[version.pk]
            future.set_exception(error)
            raise
        with self._lock:
            self._loaded[version.pk] = model
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
            LOADED_MODELS.set(len(self._loaded))
            del self._loading[version.pk]
        future.set_result(model)
        return model


def load_options() -> LoadOptions:
    return LoadOptions(trusted_types=frozenset(settings.SKLEARN_TRUSTED_TYPES))


def _load_verified(version: ModelVersion) -> LoadedModel:
    """Load the file that was registered, and no other: its digest is compared first."""
    try:
        path = artifacts.resolve(Path(settings.MODEL_PATH), version.artifact)
        if artifacts.digest(path) != version.sha256:
            logger.error("Artifact of %s has changed on disk: not served", version)
            raise ModelNotReady(f"Model {version.pk}: its artifact has changed on disk")
        with LOAD_SECONDS.labels(version.framework).time():
            runtime = runtime_module(version.framework).load(path, load_options())
    except (LoadError, OSError, ValueError) as error:
        logger.exception("Artifact of %s can not be loaded", version)
        raise ModelNotReady(f"Model {version.pk}: its artifact can not be loaded") from error
    logger.info("Loaded %s", version)
    return LoadedModel(str(version), runtime, Signature.from_json(version.signature))


_cache = ModelCache(_load_verified, settings.MODEL_CACHE_SIZE)


def get(version: ModelVersion) -> LoadedModel:
    """The loaded model of a version; raises ArtifactMissing or ModelNotReady."""
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {version.pk} has no artifact yet")
    return _cache.get(version)


def loaded() -> list[str]:
    """The models in this process's memory, as `name:version`, least recently used first."""
    return _cache.references()


def warm() -> None:
    """Load the newest active versions, as many as the cache holds, so that no caller waits for it.

    A model that can not be loaded is logged and passed over.
    """
    try:
        versions = list(
            ModelVersion.objects.active()
            .exclude(artifact="")
            .newest_first()[: settings.MODEL_CACHE_SIZE]
        )
    finally:
        connection.close()
    for version in reversed(versions):
        try:
            get(version)
        except ModelNotReady:
            continue
