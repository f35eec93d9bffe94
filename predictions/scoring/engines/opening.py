"""Opens the engine that was asked for. No Django here."""

from importlib import import_module

from predictions.scoring.engines.base import Engine
from predictions.scoring.engines.local import LocalEngine
from predictions.scoring.engines.options import EngineOptions
from predictions.scoring.work import EngineUnavailable


def open_engine(options: EngineOptions) -> Engine:
    """Raises EngineUnavailable."""
    if options.name == "local":
        if options.scheduler is not None:
            raise EngineUnavailable("--scheduler is of the engine dask: add --engine dask")
        return LocalEngine(options.workers)
    try:
        # On first use: distributed is heavy, and optional.
        module = import_module("predictions.scoring.engines.cluster")
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
