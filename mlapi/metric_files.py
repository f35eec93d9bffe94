"""The files in which the workers count for each other, made so that a full disk ends no worker.

prometheus-client maps such files into memory and lets them grow without reserving room on the
disk: on a full one, the kernel ends the process (SIGBUS) when it first writes into a new page.
"""

import logging
import mmap
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

# The library's own; it doubles each time.
INITIAL_BYTES = 2**16
# What an entry takes beside its key: its length, up to eight spaces, and two numbers.
ENTRY_BYTES = 4 + 8 + 16
SECONDS_BETWEEN_TRIES = 10.0

logger = logging.getLogger(__name__)


class ReservedFile(MmapedDict):
    """A file of counts whose room on the disk is reserved before it is used.

    A series for which there is no room is counted in this process's memory only, by the library's
    own value, which hands over the whole count again when there is room. `_positions` has the keys
    that are in the file. Not thread-safe, as its base class: the library holds a lock.
    """

    # None until there is room for the file.
    _f: Any
    _m: Any
    _is_complete = True

    def __init__(self, filename: str) -> None:
        # The base class would open the file, and raise if it cannot.
        self._fname = filename
        self._f = self._m = None
        self._positions = {}
        self._capacity = self._used = 0
        self._next_try = 0.0

    def read_value(self, key: str) -> tuple[float, float]:
        if key not in self._positions and not self._has_room(key):
            return 0.0, 0.0
        return super().read_value(key)  # type: ignore[no-any-return, no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if key in self._positions or self._has_room(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_room(self, key: str) -> bool:
        """Whether there is room for a new key, after making some if there is not."""
        entry_bytes = len(key.encode()) + ENTRY_BYTES
        if self._m is not None and self._used + entry_bytes <= self._capacity:
            return True
        if time.monotonic() < self._next_try:
            return False
        try:
            if self._m is None:
                self._open()
            while self._used + entry_bytes > self._capacity:
                self._grow()
        except OSError as error:
            self._note_failure(error)
            return False
        self._is_complete = True
        return True

    def _open(self) -> None:
        # A file of an earlier process with this id keeps its counts.
        if not Path(self._fname).exists():
            _create(self._fname)
        try:
            super().__init__(self._fname)  # type: ignore[no-untyped-call]
        except OSError:
            if self._f is not None:
                self._f.close()
                self._f = None
            raise

    def _grow(self) -> None:
        os.posix_fallocate(self._f.fileno(), self._capacity, self._capacity)
        self._m = mmap.mmap(self._f.fileno(), 2 * self._capacity)
        self._capacity *= 2

    def _note_failure(self, error: OSError) -> None:
        self._next_try = time.monotonic() + SECONDS_BETWEEN_TRIES
        if self._is_complete:
            logger.warning(
                "/metrics lacks some of this process's metrics until there is room for %s (%s)",
                self._fname,
                error.strerror,
            )
        self._is_complete = False


def reserve_room() -> None:
    """Have the library use ReservedFile in this process; before any metric is declared."""
    values.MmapedDict = ReservedFile  # type: ignore[attr-defined, assignment]


def _create(filename: str) -> None:
    """Make the file under another name first: the workers that collect cannot read an empty one."""
    unfinished = Path(f"{filename}.unfinished")
    try:
        with unfinished.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, INITIAL_BYTES)
        unfinished.rename(filename)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
