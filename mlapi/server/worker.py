"""A worker: loads the WSGI application in its process, and reports to the board."""

import gc
import os
import signal
import threading
import time
from pathlib import Path
from wsgiref.types import WSGIApplication

from mlapi.configuration.environment import SECRET_NAMES
from mlapi.server.board import Board
from mlapi.server.options import Options

HEARTBEAT_SECONDS = 1
# How long requests in flight may take to finish after a stop.
STOP_SECONDS = 30
# For health checks, and to refuse requests that are too many.
RESERVED_THREADS = 8
BLACK_BOX = "MLAPI_BLACK_BOX"


def load_application(
    board: Board, slot: int, run_folder: Path, options: Options
) -> WSGIApplication:
    """Load the WSGI application in a new worker; a thread loads its models in the background."""
    _set_signals()
    board.set_started(slot, os.getpid())
    if options.pin:
        _pin_to_cpu(slot)
    parent = os.getppid()
    threading.Thread(
        target=_beat_and_stop_with_parent,
        args=[board, slot, parent],
        name="heartbeat",
        daemon=True,
    ).start()
    os.environ[BLACK_BOX] = str(run_folder / "black-boxes" / str(slot + 1))
    # After the fork: the parent must not load the application.
    from mlapi import metric_files  # noqa: PLC0415

    metric_files.reserve_room()
    from mlapi.wsgi import application  # noqa: PLC0415
    from registry.loading import warming, watchdog  # noqa: PLC0415

    # The server copies the environment into each request, and the application has read these.
    for name in SECRET_NAMES:
        os.environ.pop(name, None)
    _bound_requests()
    _note_earlier_deaths()
    if options.check_database:
        _refuse_until_database_is_checked()
    _start_keeper(options)
    # Imported modules are never freed: exclude them from every full collection.
    gc.collect()
    gc.freeze()
    # A stop must not wait for the models.
    warming.start()
    # After it, so that the versions it is about to load are known to be missing.
    _start_health_checks(board, slot)
    watchdog.start()
    return application


def _set_signals() -> None:
    """Handlers until the server installs its own.

    A worker inherits its parent's. Under these, a stop during the imports would be lost, and the
    parent would wait for the worker. A closed terminal signals the whole group; the parent alone
    decides what it means.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _pin_to_cpu(slot: int) -> None:
    """Pin this worker to one processor and the next worker to another.

    The threads of a worker take turns on the interpreter lock. A thread that wakes on another
    processor than the one of the lock's holder finds the lock taken and goes back to sleep.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[slot % len(processors)]})


def _beat_and_stop_with_parent(board: Board, slot: int, parent: int) -> None:
    """Tell the board that this worker runs, and stop it when its parent is gone.

    A parent that is killed cannot stop its workers, and they would keep the port.
    """
    while os.getppid() == parent:
        board.beat(slot)
        time.sleep(HEARTBEAT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    # As the parent would: requests that take longer than this are not waited for.
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _note_earlier_deaths() -> None:
    """Before the first request: the input that ended the previous worker may come again."""
    from django.db import connection  # noqa: PLC0415

    from registry.loading import loader  # noqa: PLC0415

    loader.note_earlier_deaths()
    connection.close()


def _refuse_until_database_is_checked() -> None:
    from mlapi.databases import startup  # noqa: PLC0415
    from mlapi.wsgi import in_flight  # noqa: PLC0415

    def reopen() -> None:
        in_flight.closed_because = ""

    in_flight.closed_because = startup.NOT_CHECKED
    startup.check_later(reopen)


def _bound_requests() -> None:
    from django.conf import settings  # noqa: PLC0415

    from mlapi.configuration.databases import bound_requests  # noqa: PLC0415

    bound_requests(settings.DATABASES["default"], statement_seconds=settings.DB_STATEMENT_TIMEOUT)


def _start_health_checks(board: Board, slot: int) -> None:
    from mlapi.health import monitor  # noqa: PLC0415

    monitor.start(lambda report: board.report(slot, report))


def _start_keeper(options: Options) -> None:
    from django.conf import settings  # noqa: PLC0415

    from mlapi.metrics import observe_closed_connections  # noqa: PLC0415
    from mlapi.server.keeper import Keeper, Limits  # noqa: PLC0415
    from mlapi.wsgi import in_flight  # noqa: PLC0415

    in_flight.limit = options.threads - RESERVED_THREADS
    limits = Limits(
        port=options.port,
        max_connections=options.max_connections,
        max_readers=options.threads // 2,
        body_timeout_seconds=settings.BODY_TIMEOUT_SECONDS,
        body_min_bytes_per_second=settings.BODY_MIN_BYTES_PER_SECOND,
        idle_timeout_seconds=settings.IDLE_TIMEOUT_SECONDS,
    )
    Keeper(in_flight, limits, observe_closed_connections).start()
