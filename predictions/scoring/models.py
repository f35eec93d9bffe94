"""The models that a worker has loaded, each from a file whose digest it has verified. No Django
here.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from importlib import import_module
from pathlib import Path

import orjson

from predictions.scoring.work import ScoringFailed, ScoringInterrupted, VersionFile
from registry.artifacts.errors import ArtifactRejected, StorageFull, StorageUnavailable
from registry.isolation.runtime import IsolatedRuntime, Isolation
from registry.object_storage import urls
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    SECRET_PREFIX,
    Interruptible,
    LoadError,
    LoadOptions,
    RemoteOptions,
    Runtime,
    hazard_of,
)
from registry.runtimes.registered import require_same_outputs
from registry.signatures.checking import Checks
from registry.signatures.signature import Signature
from registry.storage.stores.base import ArtifactDamaged, Content
from registry.storage.stores.cache import FileCache
from registry.storage.stores.folder import Folder

MAX_LOADED = 4


@dataclass(frozen=True, eq=False)
class TableModel:
    """A version that scores tables: see `predictions.serving.inference.Model`."""

    name: str
    signature: Signature
    runtime: Runtime

    @cached_property
    def interruptible(self) -> Interruptible | None:
        return self.runtime if isinstance(self.runtime, Interruptible) else None

    @cached_property
    def checks(self) -> Checks | None:
        return Checks.of(self.signature)

    @cached_property
    def is_masked(self) -> bool:
        """Whether messages must not quote values of its inputs."""
        return any(tensor.sensitive for tensor in self.signature.inputs)


def load(file: VersionFile) -> TableModel:
    """The version's model, from memory if this process has loaded it before; raises ScoringFailed,
    or OSError if the storage cannot be read.
    """
    return _load(orjson.dumps(file))


# A run has a version and at most its canary, but the workers of a cluster live on for other runs.
@lru_cache(maxsize=MAX_LOADED)
def _load(document: bytes) -> TableModel:
    file = VersionFile(**orjson.loads(document))
    signature = Signature.from_json(file.signature)
    try:
        with open_file(file) as path:
            runtime = _runtime(file, path, signature)
        require_same_outputs(runtime.signature, signature)
    except FileNotFoundError as error:
        # Before the run began, it was there: it may have been moved, which the next run notices.
        message = f"The artifact of {file.name} is no longer in {file.storage}"
        raise ScoringInterrupted(message) from error
    except ArtifactDamaged as error:
        raise ScoringFailed(f"{file.name}: {error}") from error
    except (StorageUnavailable, StorageFull) as error:
        raise ScoringInterrupted(f"{file.name}: its artifact cannot be fetched") from error
    except (ArtifactRejected, LoadError, ValueError) as error:
        raise ScoringFailed(f"{file.name} cannot be loaded: {error}") from error
    return TableModel(file.name, signature, runtime)


def open_file(file: VersionFile) -> AbstractContextManager[Path]:
    """A local path of the file, whose digest is verified; as `stores.base.Store.open`."""
    content = Content(file.sha256, file.size_bytes)
    if not urls.is_url(file.storage):
        return Folder(Path(file.storage)).open(file.key, content)
    # On first use: obstore is optional.
    module = import_module("registry.storage.stores.bucket")
    cache = FileCache(Path(file.cache), file.cache_bytes)
    opened: AbstractContextManager[Path] = module.Bucket(file.storage, cache).open(
        file.key, content
    )
    return opened


def _runtime(file: VersionFile, path: Path, signature: Signature) -> Runtime:
    """The file in this process if it is known to do no harm, by the same rule as in the service."""
    options = LoadOptions(frozenset(file.trusted_types), _remote(file), proven=signature)
    module = runtime_module(file.framework)
    if file.framework == "open-inference" or file.isolation == "never":
        return module.load(path, options)
    if file.isolation == "auto" and not file.is_suspect:
        runtime = module.load(path, options)
        if not hazard_of(runtime):
            return runtime
        # Its memory is free before the model's own process needs it.
        del runtime
    isolation = Isolation(
        name=file.name,
        open_file=partial(open_file, file),
        framework=file.framework,
        signature=file.signature,
        trusted_types=options.trusted_types,
        memory_bytes=file.memory_bytes,
        load_seconds=file.load_seconds,
        call_seconds=file.call_seconds,
    )
    return IsolatedRuntime(isolation, {}, lambda reason: True)


def _remote(file: VersionFile) -> RemoteOptions:
    """The secrets are the worker's own: none is ever sent to it."""
    secrets = {n: value for n, value in os.environ.items() if n.startswith(SECRET_PREFIX)}
    return RemoteOptions(frozenset(file.origins), secrets)
