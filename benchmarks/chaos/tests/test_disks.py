from pathlib import Path

import pytest

from benchmarks.chaos import disks
from benchmarks.chaos.disks import Disk, DiskUnavailable


def test_a_disk_that_is_written_to_while_it_is_filled_is_filled_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusals = ["too small", "too small"]
    commands = []

    def run(*command: str) -> None:
        commands.append(command)
        if refusals:
            raise DiskUnavailable(refusals.pop())

    monkeypatch.setattr(disks, "_run", run)

    Disk(tmp_path, size_bytes=disks.MIB).fill()

    assert len(commands) == 3


def test_a_disk_that_cannot_be_filled_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*command: str) -> None:
        raise DiskUnavailable("no")

    monkeypatch.setattr(disks, "_run", refuse)

    with pytest.raises(DiskUnavailable):
        Disk(tmp_path, size_bytes=disks.MIB).fill()
