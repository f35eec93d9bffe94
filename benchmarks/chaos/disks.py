"""Small disks in memory that a run can fill: mounted with the rights of root, else not at all."""

import os
import subprocess
from pathlib import Path

CAP_SYS_ADMIN = 21
MIB = 2**20
TIMEOUT_SECONDS = 30
MAX_ATTEMPTS = 20


class DiskUnavailable(Exception):
    """No file system could be mounted; the message says why."""


class Disk:
    """A tmpfs at `path`, while the `with` block runs. Raises DiskUnavailable on entry."""

    def __init__(self, path: Path, *, size_bytes: int) -> None:
        self.path, self._size_bytes = path, size_bytes

    def __enter__(self) -> "Disk":
        self.path.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a process that is still ending may have a file open.
        _run("umount", "--lazy", str(self.path))

    def fill(self) -> None:
        """Leave no free block: a tmpfs may shrink to what it holds.

        Anything written between measuring the used space and resizing makes the new size too small,
        which is refused: then it tries again.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            status = os.statvfs(self.path)
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            try:
                self._resize(max(used, status.f_frsize))
            except DiskUnavailable:
                if attempt == MAX_ATTEMPTS:
                    raise
            else:
                return

    def make_room(self) -> None:
        self._resize(self._size_bytes)

    def _resize(self, size_bytes: int) -> None:
        _run("mount", "-o", f"remount,size={size_bytes}", str(self.path))


def can_mount() -> bool:
    """Whether this process has the capability CAP_SYS_ADMIN, which mounting needs."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective, 16) >> CAP_SYS_ADMIN & 1)


def _run(*command: str) -> None:
    try:
        subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", "") or error
        raise DiskUnavailable(f"{' '.join(command)}: {output}") from error
