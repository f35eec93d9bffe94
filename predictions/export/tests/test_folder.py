"""The folder as a destination: one process at a time writes to it, and which errors may pass."""

import errno
import fcntl
from contextlib import ExitStack
from pathlib import Path

import pytest

from predictions.export.destinations.base import DestinationUnavailable, DestinationUnusable
from predictions.export.destinations.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


def require_locked(folder: Folder) -> None:
    with (
        pytest.raises(DestinationUnavailable, match="Another process is writing to"),
        folder.lock(),
    ):
        pass


def test_a_locked_folder_is_refused(folder: Folder) -> None:
    with folder.lock():
        require_locked(folder)
    with folder.lock():
        pass


def test_a_lock_is_removed_after_an_error_as_well(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), folder.lock():
        raise KeyboardInterrupt

    assert list((tmp_path / "out").iterdir()) == []


def test_a_lock_whose_file_was_just_removed_is_none(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder before releases it after the next one has opened the file."""
    flock, holder = fcntl.flock, ExitStack()
    holder.enter_context(folder.lock())

    def slow_flock(descriptor: int, operation: int) -> None:
        holder.close()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow_flock)

    with folder.lock():
        require_locked(folder)


@pytest.mark.parametrize(
    ("number", "is_lasting"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EACCES, True)]
)
def test_only_some_errors_are_lasting(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, number: int, is_lasting: bool
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(DestinationUnavailable) as raised:
        folder.names()
    assert isinstance(raised.value, DestinationUnusable) == is_lasting
