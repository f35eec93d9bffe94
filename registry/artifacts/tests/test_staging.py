"""Incoming files: hashed, bounded, and removed on any failure."""

import errno
import gc
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts import staging
from registry.artifacts.errors import ArtifactRejected, ArtifactTooLarge, StorageFull
from registry.artifacts.staging import StagingWriter, receive
from registry.testing.folders import files_below


def test_a_received_file_is_hashed_and_private(tmp_path: Path) -> None:
    staged = receive([b"ab", b"", b"c"], tmp_path, limit_bytes=3)

    assert staged.path.read_bytes() == b"abc"
    assert staged.size_bytes == 3
    assert staged.sha256 == hashlib.sha256(staged.path.read_bytes()).hexdigest()
    assert stat.S_IMODE(staged.path.stat().st_mode) & 0o027 == 0


def test_a_file_above_the_limit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactTooLarge, match="limit of 3 bytes"):
        receive([b"ab", b"cd"], tmp_path, limit_bytes=3)

    assert files_below(tmp_path) == []


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abcd"
        pytest.fail("a chunk was read after the limit was exceeded")

    with pytest.raises(ArtifactTooLarge):
        receive(chunks(), tmp_path, limit_bytes=3)


def test_an_interrupted_upload_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receive(chunks(), tmp_path, limit_bytes=100)

    assert files_below(tmp_path) == []


def test_an_empty_upload_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match="empty") as caught:
        receive([], tmp_path, limit_bytes=3)

    assert caught.value.errors == {"artifact": ["The file is empty."]}
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)

    with pytest.raises(StorageFull, match="no room left"):
        receive([b"abc"], tmp_path, limit_bytes=3)

    assert files_below(tmp_path) == []


def test_an_abandoned_writer_removes_its_file(tmp_path: Path) -> None:
    writer = StagingWriter(tmp_path, limit_bytes=3)
    writer.write(b"abc")
    assert len(files_below(tmp_path)) == 1

    del writer
    gc.collect()

    assert files_below(tmp_path) == []


def test_a_finished_file_stays_until_it_is_discarded(tmp_path: Path) -> None:
    writer = StagingWriter(tmp_path, limit_bytes=3)
    writer.write(b"abc")
    staged = writer.finish()

    writer.discard()
    del writer
    gc.collect()

    assert staged.path.read_bytes() == b"abc"
    staged.discard()
    assert files_below(tmp_path) == []


def test_old_leftovers_are_removed_and_recent_files_kept(tmp_path: Path) -> None:
    old = receive([b"old"], tmp_path, limit_bytes=3)
    recent = receive([b"new"], tmp_path, limit_bytes=3)
    long_ago = time.time() - staging.LEFTOVER_AGE_SECONDS - 60
    os.utime(old.path, (long_ago, long_ago))

    receive([b"abc"], tmp_path, limit_bytes=3)

    assert not old.path.exists()
    assert recent.path.exists()
