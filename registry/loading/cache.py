"""The loaded models of this process, in a cache with bounds."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from registry.isolation.runtime import IsolatedRuntime
from registry.loading.errors import ModelNotReady
from registry.metrics import LOADED_MODELS
from registry.models import ModelVersion
from registry.runtimes.base import Interruptible, Runtime
from registry.signatures.checking import Checks
from registry.signatures.masking import Masks
from registry.signatures.signature import Signature

logger = logging.getLogger(__name__)

# What a model takes in memory, as a multiple of its file: the library's own form, and what loading
# leaves behind. Measuring the process instead would count what its other threads do meanwhile.
MEMORY_FACTOR = 2


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

    @cached_property
    def masks(self) -> Masks | None:
        """What the log does not have of its inputs; None if it may have everything."""
        return Masks.of(self.signature, settings.MASKING_KEY.encode())

    @cached_property
    def checks(self) -> Checks | None:
        """The constraints on its inputs; None if it has none."""
        return Checks.of(self.signature)

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory that it takes; exact for a model in a process of its own."""
        if isinstance(self.runtime, IsolatedRuntime):
            return self.runtime.size_bytes
        return expected_bytes(self.version)


def expected_bytes(version: ModelVersion) -> int:
    """What the version's model will take in memory."""
    is_elsewhere = version.framework == "open-inference"
    return 0 if is_elsewhere else MEMORY_FACTOR * (version.size_bytes or 0)


class ModelCache:
    """At most `capacity` loaded models of `capacity_bytes` (0: any size) by version id; the least
    recently used one is evicted, but never a live one.

    Threads that request a model while it is being loaded wait for that one load. A model is evicted
    only once the new one is in memory, so that it serves requests until then.
    """

    def __init__(
        self, load: Callable[[int], LoadedModel], capacity: int, capacity_bytes: int = 0
    ) -> None:
        self._load = load
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, LoadedModel] = OrderedDict()
        self._loading: dict[int, Future[LoadedModel]] = {}
        self._live: frozenset[int] = frozenset()
        self._has_warned = False

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

    def keep(self, live: Collection[int]) -> None:
        """Evict none of these from now on, and any other again."""
        with self._lock:
            self._live = frozenset(live)

    def drop(self, model_ids: Collection[int]) -> None:
        """Forget these models. Calls that are running end; the next one loads the model again."""
        with self._lock:
            # Released after the lock: the end of a process may take a moment.
            dropped = [self._loaded.pop(pk, None) for pk in model_ids]
            LOADED_MODELS.set(len(self._loaded))
        del dropped

    def fits(self, n_models: int, size_bytes: int) -> bool:
        """Whether models of that number and size are within the bounds."""
        is_small = not self._capacity_bytes or size_bytes <= self._capacity_bytes
        return n_models <= self._capacity and is_small

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
            evicted = self._evict(model_id)
            LOADED_MODELS.set(len(self._loaded))
            del self._loading[model_id]
        del evicted
        future.set_result(model)
        return model

    def _evict(self, newest: int) -> list[LoadedModel]:
        """Take out models until the others are within the bounds; return them."""
        sizes = {pk: model.size_bytes for pk, model in self._loaded.items()}
        evicted: list[LoadedModel] = []
        for pk in list(self._loaded):
            if self.fits(len(sizes), sum(sizes.values())):
                self._has_warned = False
                return evicted
            if pk != newest and pk not in self._live:
                evicted.append(self._loaded.pop(pk))
                del sizes[pk]
        if not self.fits(len(sizes), sum(sizes.values())) and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The live versions do not fit the cache: %d models take about %d MiB; "
                "MODEL_CACHE_SIZE is %d and MODEL_CACHE_BYTES %d. They stay in memory: raise the "
                "limits, or remove aliases",
                len(sizes),
                sum(sizes.values()) // 2**20,
                self._capacity,
                self._capacity_bytes,
            )
        return evicted


def release_connection() -> None:
    """Return this thread's database connection to the pool before a long wait.

    The next query takes one again. Inside a transaction the connection is kept.
    """
    # Django's proxy looks the wrapper up at each access, and most threads hold no connection.
    wrapper = connections[DEFAULT_DB_ALIAS]
    if wrapper.connection is not None and not wrapper.in_atomic_block:
        wrapper.close_if_unusable_or_obsolete()
