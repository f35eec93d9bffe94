"""A clock that a service under test reads instead of the system's, by libfaketime.

The processes see the time that is set here and that then goes on at its usual speed. Durations are
measured by the monotonic clock, which is left alone, so that time limits keep their meaning.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness.environments import Environment, NotInstallable

# Compiles the library, which takes gcc and make.
LIBFAKETIME = Environment("libfaketime", ("libfaketime==3.0.1",))
LIBRARY = "lib/python*/site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1"


class ShiftedClock:
    """The clock of all processes that have its `variables`; `file` holds its distance from now."""

    def __init__(self, file: Path) -> None:
        """Raises NotInstallable if the library cannot be installed."""
        LIBFAKETIME.build()
        library = next(LIBFAKETIME.folder.glob(LIBRARY), None)
        if library is None:
            raise NotInstallable("libfaketime: its wheel has no library for this system")
        self._file = file
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            # Otherwise a process would notice a change only after ten seconds.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, time: datetime) -> None:
        offset = round((time - datetime.now(UTC)).total_seconds())
        # Replaced as a whole: processes read it at any moment.
        incomplete = self._file.with_suffix(".new")
        incomplete.write_text(f"{offset:+d}\n")
        os.replace(incomplete, self._file)
