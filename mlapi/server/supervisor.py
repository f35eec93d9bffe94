"""The parent process: starts the workers, and replaces those that die or hang."""

import contextlib
import logging
import multiprocessing
import os
import queue
import resource
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server.mp import MPServer, WorkerProcess

from mlapi.server import health_port, worker
from mlapi.server.addresses import Address
from mlapi.server.board import Board
from mlapi.server.options import OTHER_DESCRIPTORS, Options
from registry.work.process import WorkProcess

CHECK_SECONDS = 1
MAX_PAUSE_SECONDS = 30
# A worker that lived this long did not die of its start.
STABLE_SECONDS = 60
# Without a single worker that ever lived, the reason is the configuration.
MAX_FAILED_STARTS = 5
# How many connections a worker accepts before the keeper has closed those beyond MAX_CONNECTIONS.
FLOOD_FACTOR = 4

logger = logging.getLogger(__name__)


class SignalSafeEvent:
    """What the main loop needs of threading.Event, of which a signal handler may call `set`.

    The handler runs in the thread that waits: `set` of an Event would wait for ever for the lock of
    that Event if it interrupted `wait` or `clear`. SimpleQueue is reentrant.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._queue.put(None)

    def wait(self, timeout: float) -> None:
        """Wait until it has been set since the last `clear`, or for `timeout` seconds."""
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=timeout)

    def clear(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()


class Supervisor(MPServer):
    """granian's server with a supervision of its own.

    granian ends the whole server if a worker dies twice within seconds: one client that repeats an
    input that ends its worker would take the service down. Here a worker is replaced however often
    it dies, after a pause that grows from 0 to MAX_PAUSE_SECONDS. A worker whose heartbeat stops is
    killed and replaced.

    SIGHUP ends the server as SIGTERM does: it comes when its terminal is closed. A server that was
    started with SIGHUP ignored (nohup) keeps ignoring it.

    With `options.with_worker` it also keeps a process running that does background work.
    """

    def __init__(
        self,
        options: Options,
        address: Address,
        run_folder: Path,
        health_socket: socket.socket | None,
    ) -> None:
        super().__init__(
            target="mlapi.wsgi:application",
            address=address.host,
            port=address.port,
            interface=Interfaces.WSGI,
            workers=options.workers,
            # Started when they are needed.
            blocking_threads=options.threads,
            # Its name in granian: how many connections it accepts. More wait in a queue, health
            # checks among them, so that there is room for a flood until the keeper has closed it.
            backpressure=acceptable_connections(options.max_connections),
            loop=Loops.asyncio,
            # A connection of HTTP/2 could hold hundreds of threads.
            http=HTTPModes.http1,
            websockets=False,
            # granian warns about the number of threads, which is the result of measurements, and
            # has an access log of its own.
            log_level=LogLevels.error,
            workers_kill_timeout=worker.STOP_SECONDS,
        )
        self.main_loop_interrupt = SignalSafeEvent()  # type: ignore[assignment]
        # This process logs each death itself; the workers set their level when they start.
        logging.getLogger("_granian").setLevel(logging.CRITICAL)
        self._options = options
        self._run_folder = run_folder
        self._health_socket = health_socket
        self._health: BaseProcess | None = None
        self._work = WorkProcess() if options.with_worker else None
        self._board = Board(options.workers)
        self._failures = [0] * options.workers
        self._restart_at: list[float | None] = [None] * options.workers
        self._has_lived = False
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

    def run(self) -> None:
        """Serve until a signal ends it; every process it started has ended when it returns."""
        self.on_startup(self._start_health_process)
        try:
            self.serve(target_loader=self._load_application, wrap_loader=False)
        finally:
            if self._work is not None:
                self._work.finish_stop()
            if self._health is not None:
                self._health.kill()
                self._health.join()

    # -- what granian calls

    def signal_handler_reload(self, *args: object, **kwargs: object) -> None:
        if not self._ignores_hangup:
            self.signal_handler_interrupt()  # type: ignore[no-untyped-call]

    # With the parameters of MPServer, which differ from those of its base class.
    def _spawn_worker(  # type: ignore[override]
        self, idx: int, target: Any, callback_loader: Callable[[int], Any]
    ) -> WorkerProcess:
        process: WorkerProcess = super()._spawn_worker(
            idx=idx, target=target, callback_loader=partial(callback_loader, idx)
        )
        return process

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        start = partial(self._start_worker, spawn_target, target_loader)
        while not self.interrupt_signal:
            self._check_health_process()
            if self._work is not None:
                self._work.keep_running()
            for slot in range(self.workers):
                self._check_worker(slot, start)
            if self._has_failed_to_start():
                logger.error("No worker could be started: see the errors above. Giving up.")
                break
            # Set by a signal, and when a worker ends.
            self.main_loop_interrupt.wait(CHECK_SECONDS)
            self.main_loop_interrupt.clear()
        if self._work is not None:
            # While the workers finish their requests.
            self._work.begin_stop()
        # granian's shutdown reports a failure if there are any.
        self.interrupt_children = [0] if not self.interrupt_signal else []

    # -- supervision

    def _check_worker(self, slot: int, start: Callable[[int], None]) -> None:
        process = self.wrks[slot].inner
        if self._restart_at[slot] is None:
            if process.is_alive():
                self._check_heartbeat(slot, process)
            else:
                self._restart_at[slot] = time.monotonic() + self._note_death(slot, process)
        restart_at = self._restart_at[slot]
        if restart_at is not None and time.monotonic() >= restart_at:
            start(slot)

    def _start_worker(self, spawn_target: Any, target_loader: Any, slot: int) -> None:
        self._restart_at[slot] = None
        self.wrks[slot] = self._spawn_worker(slot, spawn_target, target_loader)
        self.wrks[slot].start()  # type: ignore[no-untyped-call]

    def _note_death(self, slot: int, process: BaseProcess) -> int:
        """Log how a worker ended; in how many seconds to start the next one."""
        state = self._board.read(slot)
        lifetime_seconds = time.monotonic() - self.wrks[slot].birth
        self._has_lived |= bool(state.report)
        self._board.set_ended(slot)
        if lifetime_seconds >= STABLE_SECONDS:
            self._failures[slot] = 0
        self._failures[slot] += 1
        pause_seconds = _pause_seconds(self._failures[slot])
        logger.error(
            "Worker %d (process %d) %s after %.0f s; %s",
            slot + 1,
            process.pid,
            _describe_end(process.exitcode),
            lifetime_seconds,
            f"the next one starts in {pause_seconds} s" if pause_seconds else "restarting it",
        )
        return pause_seconds

    def _check_heartbeat(self, slot: int, process: BaseProcess) -> None:
        state = self._board.read(slot)
        self._has_lived |= bool(state.report)
        # What is on the board may be of an earlier worker.
        heartbeat = state.heartbeat if state.pid == process.pid else 0.0
        silent_seconds = time.monotonic() - max(self.wrks[slot].birth, heartbeat)
        if silent_seconds > self._options.worker_timeout_seconds:
            logger.error(
                "Worker %d (process %d) gave no sign of life for %.0f s: killing it",
                slot + 1,
                process.pid,
                silent_seconds,
            )
            process.kill()
            process.join()
            self.main_loop_interrupt.set()

    def _has_failed_to_start(self) -> bool:
        return not self._has_lived and min(self._failures) >= MAX_FAILED_STARTS

    # -- children

    def _load_application(self, slot: int) -> Any:
        """Runs in a new worker."""
        if self._health_socket is not None:
            self._health_socket.close()
        return worker.load_application(self._board, slot, self._run_folder, self._options)

    def _start_health_process(self) -> None:
        if self._health_socket is None:
            return
        # A process of its own, started before there are threads here that a fork would cut off.
        self._health = multiprocessing.get_context("fork").Process(
            target=health_port.run, args=(self._health_socket, self._board, os.getpid())
        )
        self._health.start()

    def _check_health_process(self) -> None:
        if self._health is not None and not self._health.is_alive():
            logger.error("The process of the health port %s", _describe_end(self._health.exitcode))
            self._start_health_process()


def acceptable_connections(max_connections: int) -> int:
    """How many connections a worker accepts, as far as it may open as many files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FLOOD_FACTOR * max_connections
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(max_connections, min(wanted, soft - OTHER_DESCRIPTORS))


def _pause_seconds(failures: int) -> int:
    """0, 1, 2, 4 ... seconds after the first, second ... death in a row."""
    return 0 if failures <= 1 else min(2 ** (failures - 2), MAX_PAUSE_SECONDS)


def _describe_end(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"was ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was ended by signal {-exit_code}"
    return f"ended with status {exit_code}"
