"""Engines have tasks done: `local` by processes of this machine, `dask` by a cluster."""

from dataclasses import dataclass
from importlib import import_module

from predictions.scoring.engines.base import Engine, EngineUnavailable
from predictions.scoring.engines.local import LocalEngine

ENGINES = ("local", "dask")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """`workers` are those of this machine. A `scheduler` is a running cluster's, `tls://` and its
    address; `certificates` are the paths of the authority, of the certificate and of its key.
    """

    name: str = "local"
    workers: int = 1
    scheduler: str | None = None
    certificates: tuple[str, str, str] | None = None
    is_insecure_allowed: bool = False


def open_engine(options: EngineOptions) -> Engine:
    """Raises EngineUnavailable."""
    if options.name == "local":
        if options.scheduler is not None:
            raise EngineUnavailable("--scheduler is of the engine dask: add --engine dask")
        return LocalEngine(options.workers)
    try:
        # On first use: distributed is heavy, and optional.
        module = import_module(f"{__name__}.cluster")
    except ModuleNotFoundError as error:
        message = f"The engine dask needs {error.name}: pip install 'mlapi[dask]'"
        raise EngineUnavailable(message) from error
    engine: Engine = module.DaskEngine(
        workers=options.workers,
        scheduler=options.scheduler,
        certificates=options.certificates,
        is_insecure_allowed=options.is_insecure_allowed,
    )
    return engine
