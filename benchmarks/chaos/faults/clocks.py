"""The service's clock jumps. The machine's own clock is never changed."""

from pathlib import Path

from benchmarks.chaos.faults.base import Fault, NotPossible

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
)
HOUR_SECONDS = 3600
SECOND_JUMP_SECONDS = 4.0


class ClockMoved(Fault):
    """The clock jumps an hour ahead, then an hour back, by libfaketime.

    The service runs under the library, and its token is two hours old: a token from the future is
    rightly refused.
    """

    name = "the clock jumps by an hour, ahead and back"
    group = "clock"
    _has_jumped_back = False

    def prepare(self) -> None:
        library = next((path for path in LIBRARIES if Path(path).is_file()), None)
        if library is None:
            raise NotPossible("libfaketime is not installed (Debian: apt install faketime)")
        self._file = self.system.folder / "clock"
        self._set(-2 * HOUR_SECONDS)
        self._variables = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            # Timeouts are measured by a clock that never jumps.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.system.installation.environment.update(self._variables)
        self._restart()
        self._set(0)

    def begin(self) -> None:
        self._set(HOUR_SECONDS)

    def proceed(self, elapsed_seconds: float) -> None:
        if elapsed_seconds > SECOND_JUMP_SECONDS and not self._has_jumped_back:
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
        # Replaced at once: the library may read it at any time.
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_seconds:+d}\n")
        new.replace(self._file)
