"""A worker process beside a server, which keeps it running. No Django here."""

import logging
import os
import subprocess
import sys
import time

MAX_PAUSE_SECONDS = 30.0
# A process that lived this long did not die of its start.
STABLE_SECONDS = 60.0
# Longer than the worker itself gives the items in hand.
STOP_SECONDS = 30.0

logger = logging.getLogger(__name__)


class WorkProcess:
    """`manage.py work` as a child of this process, which it does not outlive."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._started_at = 0.0
        self._start_at = 0.0

    def keep_running(self) -> None:
        """Start it, or start it again if it has ended; call this every second or so.

        Each death in a row makes the pause before the next start longer.
        """
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process, now)
            self._process = None
        if self._process is None and now >= self._start_at:
            self._started_at = now
            self._process = subprocess.Popen(  # noqa: S603 -- this program
                [sys.executable, "-m", "django", "work", f"--parent={os.getpid()}"],
                # Signals of the terminal are for the server, which then stops this process.
                start_new_session=True,
            )

    def begin_stop(self) -> None:
        """Ask it to finish the items in hand and end."""
        if self._process is not None:
            self._process.terminate()

    def finish_stop(self) -> None:
        """Wait until it has ended, and kill it if that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _note_end(self, process: "subprocess.Popen[bytes]", now: float) -> None:
        lifetime_seconds = now - self._started_at
        self._failures = 1 if lifetime_seconds >= STABLE_SECONDS else self._failures + 1
        pause_seconds = min(2.0 ** (self._failures - 1), MAX_PAUSE_SECONDS)
        self._start_at = now + pause_seconds
        logger.error(
            "The process that does background work (%d) ended with status %d after %.0f s; the next"
            " one starts in %.0f s",
            process.pid,
            process.returncode,
            lifetime_seconds,
            pause_seconds,
        )
