"""The worker: takes what is due, and runs it in threads."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import (
    DatabaseError,
    InterfaceError,
    close_old_connections,
    connection,
    connections,
)

from registry.database import clock
from registry.metrics import WORK_ITEMS, WORK_OLDEST_SECONDS, WORK_PENDING
from registry.work.kinds import Kind

# An idle worker looks for new work this often; the jitter keeps several from doing so in step.
POLL_SECONDS = 1.0
MAX_DATABASE_PAUSE_SECONDS = 30.0
COMPARE_SECONDS = MEASURE_SECONDS = 15.0
# How long items in hand may take to finish after a stop.
STOP_SECONDS = 25.0
SUMMARY_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Totals:
    """How many items have been run, and how many of these raised an exception."""

    done: int = 0
    failed: int = 0


class Worker:
    """Runs the items of some kinds, at most `threads` at a time."""

    def __init__(self, kinds: Sequence[Kind[Any]], *, threads: int) -> None:
        self._kinds = list(kinds)
        self._threads = threads
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()
        # Set when an item ends, which is a reason to look again.
        self._wake = threading.Event()
        # Not an event: a signal handler could interrupt the thread that holds its lock.
        self.is_stopping = False
        self._compare_at = self._measure_at = 0.0
        self.totals = Totals()

    def stop(self) -> None:
        """Take nothing more; noticed within POLL_SECONDS. Can be called from a signal handler."""
        self.is_stopping = True

    def run_until_stopped(
        self, on_progress: Callable[[Totals], object] = lambda totals: None
    ) -> None:
        """Work until `stop` is called, then finish the items in hand within STOP_SECONDS.

        While the database is unavailable it waits. `on_progress` is called once a minute.
        """
        pause_seconds, report_at = POLL_SECONDS, time.monotonic() + SUMMARY_SECONDS
        while not self.is_stopping:
            try:
                has_taken = self._start_due()
                self._measure()
                pause_seconds = POLL_SECONDS
            except (DatabaseError, InterfaceError) as error:
                has_taken = False
                logger.warning("Due work could not be read: %s", error)
                connections.close_all()
                pause_seconds = min(2 * pause_seconds, MAX_DATABASE_PAUSE_SECONDS)
            if not has_taken:
                self._wait(pause_seconds)
            if time.monotonic() >= report_at:
                report_at = time.monotonic() + SUMMARY_SECONDS
                on_progress(self.totals)
        self._finish()

    def run_due(self) -> None:
        """Work until nothing is due, or `stop` is called. Raises database errors."""
        while not self.is_stopping:
            if self._start_due():
                continue
            if not self._running.total():
                break
            self._wait(POLL_SECONDS)
        self._finish()

    def _start_due(self) -> bool:
        """Take at most one item of each kind and start it; whether there was any."""
        close_old_connections()
        self._compare_clocks()
        has_taken = False
        # In another order each time, so that no kind is always first when threads are scarce.
        for kind in random.sample(self._kinds, len(self._kinds)):
            is_free = (
                self._running.total() < self._threads
                and self._running[kind.name] < kind.max_concurrency
            )
            if self.is_stopping or not is_free:
                continue
            if (item := self._take_due(kind)) is not None:
                has_taken = True
                self._start(kind, item)
        return has_taken

    def _take_due(self, kind: Kind[Any]) -> object:
        """The next item, or None; raises only database errors."""
        try:
            return kind.take_due()
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            # An item of one kind that nobody can take must not stop all the others.
            logger.exception("No item of %s could be taken", kind.name)
            return None

    def _start(self, kind: Kind[Any], item: object) -> None:
        with self._lock:
            self._running[kind.name] += 1
        # Daemons, so that an item that does not end in time cannot keep the process.
        threading.Thread(
            target=self._run, args=[kind, item], name=f"work-{kind.name}", daemon=True
        ).start()

    def _run(self, kind: Kind[Any], item: object) -> None:
        result = "failed"
        try:
            kind.run(item, lambda: self.is_stopping)
            result = "done"
        except Exception:
            logger.exception("An item of %s failed: %s", kind.name, item)
        finally:
            connections.close_all()
            WORK_ITEMS.labels(kind.name, result).inc()
            with self._lock:
                self._running[kind.name] -= 1
                self.totals.done += result == "done"
                self.totals.failed += result == "failed"
            self._wake.set()

    def _wait(self, seconds: float) -> None:
        give_up_at = time.monotonic() + random.uniform(seconds / 2, seconds)  # noqa: S311 -- jitter
        while not self.is_stopping and (left := give_up_at - time.monotonic()) > 0:
            if self._wake.wait(min(left, POLL_SECONDS)):
                break
        self._wake.clear()

    def _finish(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while self._running.total() and time.monotonic() < deadline:
            self._wake.wait(0.1)
            self._wake.clear()
        if left := self._running.total():
            logger.warning(
                "%d items have not finished; they are due again after their leases", left
            )
        connections.close_all()

    def _compare_clocks(self) -> None:
        """Before the first item, too: what is due, and leases, are by the database's clock."""
        if time.monotonic() >= self._compare_at:
            clock.compare(connection)
            self._compare_at = time.monotonic() + COMPARE_SECONDS

    def _measure(self) -> None:
        if time.monotonic() < self._measure_at:
            return
        self._measure_at = time.monotonic() + MEASURE_SECONDS
        for kind in self._kinds:
            if kind.measure is not None:
                backlog = kind.measure()
                WORK_PENDING.labels(kind.name).set(backlog.pending)
                WORK_OLDEST_SECONDS.labels(kind.name).set(backlog.oldest_seconds)
