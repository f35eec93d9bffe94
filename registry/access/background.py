"""Work that requests start every few seconds, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import connection

logger = logging.getLogger(__name__)


class Background:
    """Calls `run` in a thread at most every `seconds`, while requests keep calling `poke`.

    There is never more than one such thread, and an idle process has none. Errors are logged, and
    the next call tries again.
    """

    def __init__(self, name: str, run: Callable[[], None], seconds: float) -> None:
        self._name = name
        self._run = run
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next_at = 0.0
        self._idle = threading.Event()
        self._idle.set()

    def poke(self) -> None:
        """Start the thread if it is time; never waits.

        Nothing is started while a run is under way: threads would pile up if the database hangs.
        """
        now = time.monotonic()
        if now < self._next_at:
            return
        with self._lock:
            if now < self._next_at or not self._idle.is_set():
                return
            self._next_at = now + self._seconds
            self._idle.clear()
        try:
            threading.Thread(target=self._run_and_close, name=self._name, daemon=True).start()
        except RuntimeError:
            self._idle.set()
            logger.warning("Cannot start the thread %s", self._name)

    def poke_and_wait(self, max_seconds: float) -> None:
        """As `poke`, but give a run that is under way this long to end."""
        self.poke()
        self._idle.wait(max_seconds)

    def _run_and_close(self) -> None:
        try:
            self._run()
        except Exception as error:
            # The database reports its own troubles elsewhere.
            logger.debug("%s failed: %s", self._name, error)
        finally:
            try:
                connection.close()
            finally:
                self._idle.set()
