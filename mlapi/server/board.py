"""Shared memory in which each worker says that it runs and how it is: the board.

The parent and the health port read it without asking the workers, so they notice even a worker that
hangs while it holds the interpreter lock. It is anonymous memory, inherited by fork: it needs
neither a folder nor /dev/shm.
"""

import mmap
import struct
import time
import zlib
from dataclasses import dataclass

SLOT_BYTES = 8192
# pid, start and heartbeat (seconds of the monotonic clock), length and checksum of the report.
HEADER = struct.Struct("=qddII")
HEARTBEAT_OFFSET = 16
REPORT_OFFSET = 24


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the board says of a worker. `pid` 0: it does not run. `heartbeat` 0: it starts."""

    pid: int
    started: float
    heartbeat: float
    report: bytes

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last sign of life; the start of its process counts as one."""
        return time.monotonic() - max(self.started, self.heartbeat)


class Board:
    """One slot for each worker. Only the worker itself, or the parent before it starts, writes it.

    The monotonic clock is the same in all processes of a machine.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, workers * SLOT_BYTES)

    def set_started(self, slot: int, pid: int) -> None:
        HEADER.pack_into(self._memory, slot * SLOT_BYTES, pid, time.monotonic(), 0.0, 0, 0)

    def set_ended(self, slot: int) -> None:
        HEADER.pack_into(self._memory, slot * SLOT_BYTES, 0, 0.0, 0.0, 0, 0)

    def beat(self, slot: int) -> None:
        # An aligned store of eight bytes: no reader sees half of it.
        offset = slot * SLOT_BYTES + HEARTBEAT_OFFSET
        struct.pack_into("=d", self._memory, offset, time.monotonic())

    def report(self, slot: int, report: bytes) -> None:
        """Replace the worker's report; one that is too long is not written.

        The checksum tells a reader that came in between that it saw parts of two reports.
        """
        start = slot * SLOT_BYTES
        if len(report) > SLOT_BYTES - HEADER.size:
            return
        self._memory[start + HEADER.size : start + HEADER.size + len(report)] = report
        checksum = zlib.crc32(report)
        struct.pack_into("=II", self._memory, start + REPORT_OFFSET, len(report), checksum)

    def read(self, slot: int) -> WorkerState:
        """The worker's state; its report is empty if there is none, or while it is written."""
        start = slot * SLOT_BYTES
        pid, started, heartbeat, length, checksum = HEADER.unpack_from(self._memory, start)
        report = self._memory[start + HEADER.size : start + HEADER.size + min(length, SLOT_BYTES)]
        if zlib.crc32(report) != checksum:
            report = b""
        return WorkerState(pid, started, heartbeat, report)
