"""A clock that a service under test reads instead of the system's, by libfaketime.

The processes see the time that is set here and that then goes on at its usual speed. Durations are
measured by the monotonic clock, which is left alone, so that time limits keep their meaning.
"""

import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness.environments import Environment, NotInstallable

# Compiles the library, which takes gcc and make.
LIBFAKETIME = Environment("libfaketime", ("libfaketime==3.0.1",))
CACHE_SECONDS = 1
LIBRARY = "lib/python*/site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1"


def faking_library() -> Path:
    """The library that changes what a process sees of the time; raises NotInstallable."""
    LIBFAKETIME.build()
    library = next(LIBFAKETIME.folder.glob(LIBRARY), None)
    if library is None:
        raise NotInstallable("libfaketime: its wheel has no library for this system")
    return library


class ShiftedClock:
    """The clock of all processes that have its `variables`; `file` holds its distance from now."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            # Reading the file at every look at the clock would take more time than predictions do.
            "FAKETIME_CACHE_DURATION": str(CACHE_SECONDS),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # A correction for old C libraries. With it, Python's threads do not wait for the
            # interpreter lock but ask for it all the time.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def set(self, moment: datetime) -> None:
        """Returns once running processes have noticed it."""
        offset_seconds = round((moment - datetime.now(UTC)).total_seconds())
        # Replaced as a whole: processes read it at any moment.
        incomplete = self._file.with_suffix(".new")
        incomplete.write_text(f"{offset_seconds:+d}\n")
        incomplete.replace(self._file)
        # The library compares whole seconds.
        time.sleep(CACHE_SECONDS + 1.2)
