"""The production server: `python -m mlapi.server`, the process that `manage.py serve` becomes.

The parent process only forks and supervises. It loads no application and opens no connection or
model: forking these leaves children that hang.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from functools import partial
from multiprocessing.sharedctypes import SynchronizedArray
from wsgiref.types import WSGIApplication

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from mlapi.configuration.environment import SECRET_NAMES

# How long requests in flight may take to finish after a stop.
STOP_SECONDS = 30
PARENT_CHECK_SECONDS = 1
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mlapi.server", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--pin", action="store_true")
    serve(**vars(parser.parse_args()))


def serve(*, host: str, port: int, workers: int, threads: int, pin: bool) -> None:
    """Serve until SIGTERM or SIGINT; all of its processes have ended when it returns."""
    server = Granian(
        target="mlapi.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        loop=Loops.asyncio,
        websockets=False,
        # granian warns about the number of threads, which is the result of measurements, and has
        # an access log of its own.
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    # Created before the fork, so that the workers share it: the pid that holds each processor.
    pids = multiprocessing.Array("q", workers) if pin else None
    try:
        server.serve(target_loader=partial(load_application, pids), wrap_loader=False)
    finally:
        # `manage.py serve` creates this folder for each run.
        if folder := os.environ.get(METRICS_FOLDER):
            shutil.rmtree(folder, ignore_errors=True)


def load_application(pids: "SynchronizedArray[int] | None" = None) -> WSGIApplication:
    """Load the WSGI application in a new worker; a thread loads its models in the background."""
    # A worker inherits its parent's handlers until the server installs its own. Under these, a stop
    # during the imports would be lost, and the parent would wait STOP_SECONDS for the worker.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if pids is not None:
        _pin_to_cpu(pids)
    parent = os.getppid()
    threading.Thread(
        target=_stop_with_parent, args=[parent], name="stop-with-parent", daemon=True
    ).start()
    # After the fork: the parent must not load the application.
    from mlapi.wsgi import application  # noqa: PLC0415

    # The server copies the environment into each request, and the application has read these.
    for name in SECRET_NAMES:
        os.environ.pop(name, None)
    # Imported modules are never freed: exclude them from every full collection.
    gc.collect()
    gc.freeze()
    # Neither readiness nor a stop may wait for the models.
    threading.Thread(target=_warm_models, name="warm-models", daemon=True).start()
    return application


def _pin_to_cpu(pids: "SynchronizedArray[int]") -> None:
    """Pin this worker to one processor and the next worker to another.

    The threads of a worker take turns on the interpreter lock. A thread that wakes on another
    processor than the one of the lock's holder finds the lock taken and goes back to sleep.
    """
    with pids.get_lock():
        slot = next(i for i, pid in enumerate(pids[:]) if not (pid and _is_running(pid)))
        pids[slot] = os.getpid()
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[slot % len(processors)]})


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _stop_with_parent(parent: int) -> None:
    """Stop this worker when its parent is gone.

    A parent that is killed cannot stop its workers, and they would keep the port.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _warm_models() -> None:
    from registry.loading import loader  # noqa: PLC0415
    from registry.loading.limits import keep_limits_fresh  # noqa: PLC0415

    try:
        loader.preload()
    except Exception:
        # The request that needs a model tries again.
        logger.exception("The models could not be loaded at start")
    keep_limits_fresh()


if __name__ == "__main__":
    main()
