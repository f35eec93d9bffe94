"""Folders as destinations: their lock, and which errors may pass."""

import errno
import fcntl
from pathlib import Path

import pytest

from predictions.export.destinations import open_destination
from predictions.export.destinations.base import DestinationUnavailable, DestinationUnusable


def test_a_lock_that_its_last_holder_has_removed_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third process may hold the file that has its name now."""
    folder, flock = open_destination(str(tmp_path / "out")), fcntl.flock

    def remove_and_lock(descriptor: int, operation: int) -> None:
        (tmp_path / "out" / ".lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with pytest.raises(DestinationUnavailable, match="Another process"), folder.lock():
        pass


@pytest.mark.parametrize(
    ("number", "is_lasting"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EACCES, True)]
)
def test_only_some_errors_are_lasting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_lasting: bool
) -> None:
    folder = open_destination(str(tmp_path))

    def fail(path: Path) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(DestinationUnavailable) as raised:
        folder.names()
    assert isinstance(raised.value, DestinationUnusable) == is_lasting
