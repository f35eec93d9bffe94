"""The production server: `python -m mlapi.server`, which `manage.py serve` turns into.

The parent process only forks and watches. It loads no application, opens no connection and no
model: a fork of those leaves children that hang.
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
from collections.abc import Callable
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from mlapi.configuration.environment import SECRET_NAMES

# A stop lets what is in flight finish for so long, and then ends it.
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
    """Serve until SIGTERM or SIGINT; on return every process of it has ended."""
    server = Granian(
        target="mlapi.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        loop=Loops.asyncio,
        websockets=False,
        # Its warnings are about the number of threads, which was measured; ours is the access log.
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    # Made before the fork, so that the workers share it: who sits on which processor.
    seats = multiprocessing.Array("q", workers) if pin else None
    try:
        server.serve(target_loader=partial(load_application, seats), wrap_loader=False)
    finally:
        # `serve` made it for this run.
        if folder := os.environ.get(METRICS_FOLDER):
            shutil.rmtree(folder, ignore_errors=True)


def load_application(seats: Any = None) -> Callable[..., Any]:
    """The WSGI application, loaded in a new worker; its models follow beside the first requests."""
    # A worker inherits handlers that only make sense in its parent, until the server sets its own:
    # a stop that came while it imports would be lost, and waited for until STOP_SECONDS are over.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if seats is not None:
        _take_seat(seats)
    parent = os.getppid()
    threading.Thread(target=_end_with, args=[parent], name="end-with-parent", daemon=True).start()
    # Imported after the fork.
    from mlapi.wsgi import application

    # The server copies the environment into each request, where nobody needs these any more.
    for name in SECRET_NAMES:
        os.environ.pop(name, None)
    # What is imported stays: the collector need not walk through it with every full collection.
    gc.collect()
    gc.freeze()
    # Readiness must not wait for the models, nor a stop.
    threading.Thread(target=_warm, name="warm-models", daemon=True).start()
    return application


def _take_seat(seats: Any) -> None:
    """Keep this worker on one processor, the next worker on another.

    The threads of a worker take turns by the interpreter's lock. Woken on another processor than
    the one that holds it, a thread only finds it taken and sleeps again.
    """
    with seats.get_lock():
        seat = next(i for i, pid in enumerate(seats) if not (pid and _is_running(pid)))
        seats[seat] = os.getpid()
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[seat % len(processors)]})


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _end_with(parent: int) -> None:
    """Stop this worker once its parent is gone: killed, it could not tell its workers to go, and
    they would keep the port.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _warm() -> None:
    from registry import loader

    try:
        loader.preload()
    except Exception:
        # Each will be tried again by the request that needs it.
        logger.exception("The models could not be loaded at start")


if __name__ == "__main__":
    main()
