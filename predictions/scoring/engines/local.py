"""Scores with processes of this machine. No Django here.

Not ProcessPoolExecutor: there, one dead worker ends all the others, and the workers of a driver
that was killed live on.
"""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from predictions.scoring.engines.base import described, receipt_in
from predictions.scoring.work import ScoringFailed, ScoringInterrupted
from registry.exact_json.values import JSONObject
from registry.isolation.processes import ONE_THREAD, PROJECT_ROOT

WORKER = "predictions.scoring.engines.worker"
# A run fails when this many workers have died at the same part.
MAX_DEATHS = 3
# Before each new attempt, if a storage or a remote model cannot be reached.
PAUSES_SECONDS: Sequence[float] = (1.0, 5.0, 20.0)


class LocalEngine:
    """A number of worker processes, each with one thread, which end with this one."""

    def __init__(self, workers: int) -> None:
        self._n_workers = workers

    def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
        """See Engine."""
        crew = _Crew(orders)
        threads = [
            threading.Thread(target=crew.work, name=f"scoring-{number}", daemon=True)
            for number in range(self._n_workers)
        ]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                result = crew.results.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    running -= 1
                else:
                    yield result
        finally:
            crew.stop()
            for thread in threads:
                thread.join()


@dataclass(slots=True)
class _Crew:
    """The workers, each driven by a thread. `results` are receipts, the error that ends the run, or
    None from each thread that has nothing left to do.
    """

    orders: Iterator[JSONObject]
    results: "queue.SimpleQueue[JSONObject | BaseException | None]" = field(
        default_factory=queue.SimpleQueue
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _workers: "set[_Worker]" = field(default_factory=set)

    def work(self) -> None:
        """What each thread does: give a worker one order after another."""
        worker = _Worker()
        with self._lock:
            self._workers.add(worker)
        try:
            while (order := self._next()) is not None:
                self.results.put(self._do(worker, order))
            self.results.put(None)
        except BaseException as error:
            self.results.put(error)
        finally:
            worker.close()

    def stop(self) -> None:
        """End all workers, whatever they are doing."""
        self._stopped.set()
        with self._lock:
            for worker in self._workers:
                worker.kill()

    def _next(self) -> JSONObject | None:
        with self._lock:
            return None if self._stopped.is_set() else next(self.orders, None)

    def _do(self, worker: "_Worker", order: JSONObject) -> JSONObject:
        deaths, pauses = 0, list(PAUSES_SECONDS)
        while True:
            try:
                return receipt_in(worker.ask(order))
            except _Died as error:
                deaths += 1
                if self._stopped.is_set():
                    raise ScoringInterrupted("The run was stopped") from error
                if deaths >= MAX_DEATHS:
                    raise ScoringFailed(
                        f"{described(order)}: {deaths} workers died of it, the last one {error}"
                    ) from error
            except ScoringInterrupted:
                if not pauses or self._stopped.wait(pauses.pop(0)):
                    raise


class _Died(Exception):
    """A worker has ended; the message says how."""


class _Worker:
    """A process, started when it is needed and again after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._is_ended = False
        self._lock = threading.Lock()

    def ask(self, order: JSONObject) -> JSONObject:
        """Its reply to an order; raises _Died."""
        connection = self._running()
        try:
            connection.sendall(orjson.dumps(order, option=orjson.OPT_APPEND_NEWLINE))
            with connection.makefile("rb") as replies:
                line = replies.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise _Died(self._ended())
        reply: JSONObject = orjson.loads(line)
        return reply

    def kill(self) -> None:
        """End the process for good; another thread may be waiting for its reply."""
        with self._lock:
            self._is_ended = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the process, and release what it held; nobody may be waiting for it."""
        self.kill()
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.wait()

    def _running(self) -> socket.socket:
        with self._lock:
            if self._is_ended:
                raise _Died("was stopped")
            if self._connection is None:
                ours, theirs = socket.socketpair()
                with theirs:
                    self._process = subprocess.Popen(  # noqa: S603 - one of our modules
                        [sys.executable, "-m", WORKER, str(theirs.fileno())],
                        cwd=PROJECT_ROOT,
                        env={**os.environ, **ONE_THREAD},
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=(theirs.fileno(),),
                        # Ctrl-C in a terminal is for the driver alone.
                        start_new_session=True,
                    )
                self._connection = ours
            return self._connection

    def _ended(self) -> str:
        """How the process ended; the next order gets a new one."""
        process, connection = self._process, self._connection
        assert process is not None
        assert connection is not None
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.kill()
        code = process.wait()
        connection.close()
        with self._lock:
            self._process = self._connection = None
        if code >= 0:
            return f"with the exit code {code}"
        name = signal.Signals(-code).name
        return f"of {name}, as if memory ran out" if name == "SIGKILL" else f"of {name}"
