"""The folder of one run of the server: metrics that its workers share, and their black boxes."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mlapi-run-"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
LOCK = "lock"
# Between creating a folder and locking it, another server must not take it for an abandoned one.
MIN_AGE_SECONDS = 10

logger = logging.getLogger(__name__)


class RunFolderError(Exception):
    """The folder cannot be made. The message is one line, for the operator."""


@contextlib.contextmanager
def created() -> Iterator[Path]:
    """A new folder in the temporary folder, removed at the end.

    It is new at each start: an old one would restore the counts of an earlier run. Folders of
    servers that were killed are removed first. Raises RunFolderError.
    """
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent)
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            # The workers inherit the lock; the kernel releases it when the last one has ended.
            lock = stack.enter_context((folder / LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "metrics").mkdir()
            (folder / "black-boxes").mkdir()
        except OSError as error:
            raise RunFolderError(
                f"The temporary folder {parent} cannot be used: {error.strerror}. Make room there,"
                " or set TMPDIR to another folder"
            ) from error
        yield folder


def remove_abandoned(parent: Path) -> None:
    """Remove the run folders in `parent` that no process uses any more."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            is_old = time.time() - status.st_mtime > MIN_AGE_SECONDS
            if is_old and status.st_uid == os.getuid() and not _is_locked(folder / LOCK):
                shutil.rmtree(folder)
                logger.info("Removed %s, left by a server that was killed", folder)


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
