"""Which versions were in a call when this worker died: a file that outlives it. No Django here.

A native crash leaves no time to say what it happened in. So each thread writes the version into a
file in memory before it has a library load or score it, and takes it out afterwards: two stores
into a page that the kernel keeps.
"""

import contextlib
import faulthandler
import logging
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar

import numpy as np

from registry.runtimes.base import Outputs, Runtime
from registry.runtimes.contributions import Explainable, explains_of

logger = logging.getLogger(__name__)

VARIABLE = "MLAPI_BLACK_BOX"
# A call of that age has hung: whoever killed the process had waited for it.
HUNG_SECONDS = 30.0
# For each thread, the version's id and when its call began. No server has more threads; others
# share the last place, which is not read. The last cell is the id of the process.
N_PLACES = 1024
_PLACE_CELLS = 2
SIZE_BYTES = (N_PLACES * _PLACE_CELLS + 1) * 8
_KEPT = ".dead"
_NANOSECONDS = 10**9
_NEVER_HUNG = 2**63 - 1
# As a trace names this file, behind the folder of the installation.
_THIS_FILE = "/".join(Path(__file__).parts[-3:]) + '"'

Loaded = TypeVar("Loaded")


class Call(NamedTuple):
    """A call or a load that is running, in nanoseconds of the monotonic clock."""

    version_id: int
    started: int

    @property
    def seconds(self) -> float:
        return (time.monotonic_ns() - self.started) / _NANOSECONDS


class BlackBox:
    """The calls that are running in this process."""

    def __init__(self, path: Path | None = None) -> None:
        """Keep them in a new file at `path`, or only in memory, as on a full disk."""
        self._map = (_file(path) if path else None) or mmap.mmap(-1, SIZE_BYTES)
        self.cells = memoryview(self._map).cast("q")
        self.cells[-1] = os.getpid()
        self._free = list(range(0, (N_PLACES - 1) * _PLACE_CELLS, _PLACE_CELLS))
        self._lock = threading.Lock()
        self.thread = threading.local()

    def claim(self) -> int:
        """The place of this thread, which it keeps until it ends."""
        with self._lock:
            place = self._free.pop() if self._free else (N_PLACES - 1) * _PLACE_CELLS
        self.thread.place = place
        self.thread.claim = _Claim(self, place)
        return place

    def release(self, place: int) -> None:
        if place < (N_PLACES - 1) * _PLACE_CELLS:
            with self._lock:
                self._free.append(place)

    def calls(self) -> list[Call]:
        return _calls(self.cells)

    def load(self, version_id: int, load: Callable[[], Loaded]) -> Loaded:
        """What `load` returns; the version is noted meanwhile. It may take any time."""
        place = getattr(self.thread, "place", None)
        if place is None:
            place = self.claim()
        self.cells[place + 1] = _NEVER_HUNG
        self.cells[place] = version_id
        try:
            return load()
        finally:
            self.cells[place] = 0


class _Claim:
    """Gives a thread's place back when the thread, and with it this object, ends."""

    def __init__(self, box: BlackBox, place: int) -> None:
        self._box, self._place = box, place

    def __del__(self) -> None:
        self._box.release(self._place)


class WatchedRuntime:
    """A runtime in this process whose calls are noted in the black box."""

    def __init__(self, runtime: Runtime, version_id: int, box: BlackBox) -> None:
        self.signature, self.libraries = runtime.signature, runtime.libraries
        self.runtime = runtime
        self.explains = explains_of(runtime)
        self._predict = runtime.predict
        self._version_id = version_id
        self._box, self._cells, self._thread = box, box.cells, box.thread

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        try:
            place = self._thread.place
        except AttributeError:
            place = self._box.claim()
        cells = self._cells
        cells[place + 1] = time.monotonic_ns()
        cells[place] = self._version_id
        try:
            return self._predict(inputs)
        finally:
            cells[place] = 0

    def explain(self, inputs: Mapping[str, np.ndarray], seconds: float | None = None) -> Outputs:
        """See Explainable.explain."""
        assert isinstance(self.runtime, Explainable)
        place = getattr(self._thread, "place", None)
        if place is None:
            place = self._box.claim()
        self._cells[place + 1] = time.monotonic_ns()
        self._cells[place] = self._version_id
        try:
            return self.runtime.explain(inputs)
        finally:
            self._cells[place] = 0


def watch_signals(path: Path) -> None:
    """Have Python write beside the black box where it was, if a library ends this process.

    That tells a crash from a SIGKILL, which says nothing about the calls that it interrupts. If no
    file can be made, as on a full disk, it is written to stderr.
    """
    try:
        # Never closed: the signal handler writes to it.
        trace: TextIO = _trace_of(path).open("w")
    except OSError:
        trace = sys.stderr
    faulthandler.enable(trace, all_threads=False)


def left_behind(path: Path) -> list[Path]:
    """The boxes of earlier processes that had this path, which their successors kept."""
    return sorted(path.parent.glob(f"{path.name}.*{_KEPT}"))


class Death(NamedTuple):
    """The ids of the versions that may have ended a process, and whether it certainly crashed in
    one of their calls or loads.
    """

    suspects: list[int]
    is_crash_of_suspect: bool


def read_death(path: Path) -> Death:
    """Which versions may have ended the process of this black box.

    These are all that were in a call, if the process died of a signal that its own code raises, or
    else those whose call was older than HUNG_SECONDS. Both files are removed: of several readers,
    one gets them. A missing file holds none, and so does that of a process that still runs.
    """
    taken = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        content = path.read_bytes()
        if len(content) != SIZE_BYTES or _is_running(memoryview(content).cast("q")[-1]):
            return Death([], False)
        path.rename(taken)
        taken.unlink()
    except OSError:
        return Death([], False)
    calls = _calls(memoryview(content).cast("q"))
    trace = _take_trace(path)
    if not trace:
        calls = [call for call in calls if call.seconds > HUNG_SECONDS]
    suspects = sorted({call.version_id for call in calls})
    return Death(suspects, bool(suspects and trace) and not _is_elsewhere(trace))


def _is_elsewhere(trace: str) -> bool:
    """Whether the thread that crashed was not in a call. A library's own thread has no stack."""
    has_whole_stack = "\n  File " in trace and "\n  ...\n" not in trace
    return has_whole_stack and _THIS_FILE not in trace


def _is_running(pid: int) -> bool:
    return pid not in (0, os.getpid()) and Path(f"/proc/{pid}").exists()


def _take_trace(path: Path) -> str:
    trace = _trace_of(path)
    try:
        text = trace.read_text(errors="replace")
        trace.unlink()
    except OSError:
        return ""
    if text:
        # What follows is a list of every library with native code.
        logger.error("A worker crashed:\n%s", text.partition("\nExtension modules:")[0])
    return text


def _trace_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.trace")


def _calls(cells: "memoryview[int]") -> list[Call]:
    last = (N_PLACES - 1) * _PLACE_CELLS
    ids = cells[0:last:_PLACE_CELLS].tolist()
    return [Call(pk, cells[i * _PLACE_CELLS + 1]) for i, pk in enumerate(ids) if pk]


def _file(path: Path) -> mmap.mmap | None:
    """A new file in memory; None if there is no room for it, or it cannot be made."""
    # A worker takes the place of one that died: what the dead one was doing is not known yet.
    kept = path.with_name(f"{path.name}.{time.time_ns()}{_KEPT}")
    try:
        for old, new in ((_trace_of(path), _trace_of(kept)), (path, kept)):
            with contextlib.suppress(FileNotFoundError):
                old.rename(new)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            # Not ftruncate: on a full disk, writing into the file would end this process.
            os.posix_fallocate(descriptor, 0, SIZE_BYTES)
            return mmap.mmap(descriptor, SIZE_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        logger.warning(
            "If a model ends this process, it will not be known which: %s cannot be written (%s)",
            path,
            error.strerror,
        )
        return None
