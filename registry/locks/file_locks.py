"""A lock in the form of a file, which ends with the process that holds it. No Django here."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked_file(path: Path, *, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock `path`, a file that exists only while somebody holds the lock or waits for it.

    Calls `on_wait` before it waits for another holder; what that raises ends the attempt. Raises
    OSError if the file cannot be created.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not is_at(path, descriptor):
                # The holder before has removed it, and another process may lock a new one.
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one with that path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
