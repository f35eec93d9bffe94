"""The service's clock jumps. The machine's own clock is never changed."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

from benchmarks.chaos.faults.base import Fault, NotPossible

SOURCE = Path(__file__).with_name("moved_clock.c")
COMPILE_SECONDS = 60
HOUR_SECONDS = 3600
BACK_AFTER_SECONDS = 4.0


class ClockMoved(Fault):
    """The clock jumps an hour ahead, then two hours back, then to the right time.

    The service's processes load a small library that moves what they read as the time of day. The
    token is two hours old: one from the future is rightly refused.
    """

    name = "the clock jumps by an hour, ahead and back"
    group = "clock"
    _has_jumped_back = False

    def prepare(self) -> None:
        library = _compile(self.system.folder)
        self._file = self.system.folder / "clock"
        self._file.write_bytes(struct.pack("=q", -2 * HOUR_SECONDS))
        self._variables = {"LD_PRELOAD": str(library), "MOVED_CLOCK_FILE": str(self._file)}
        self.system.installation.environment.update(self._variables)
        self._restart()
        self._set(0)

    def begin(self) -> None:
        self._set(HOUR_SECONDS)

    def proceed(self, elapsed_seconds: float) -> None:
        if elapsed_seconds > BACK_AFTER_SECONDS and not self._has_jumped_back:
            self._has_jumped_back = True
            self._set(-HOUR_SECONDS)

    def end(self) -> None:
        self._set(0)

    def restore(self) -> None:
        for name in self._variables:
            self.system.installation.environment.pop(name)
        self._restart()

    def _restart(self) -> None:
        self.system.installation.token = ""
        self.system.service.restart()

    def _set(self, offset_seconds: int) -> None:
        # In place, by one write: the processes have mapped the file.
        file = os.open(self._file, os.O_WRONLY)
        os.pwrite(file, struct.pack("=q", offset_seconds), 0)
        os.close(file)


def _compile(folder: Path) -> Path:
    """The library; raises NotPossible."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotPossible("there is no C compiler (cc)")
    library = folder / "moved_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
    try:
        subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS
        )
    except subprocess.SubprocessError as error:
        raise NotPossible(f"cc failed: {getattr(error, 'stderr', '') or error}") from error
    return library
