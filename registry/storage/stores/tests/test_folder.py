"""Artifacts in a folder: put, found again and removed, never outside the root."""

import os
from pathlib import Path

import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.staging import receive
from registry.storage.stores.base import ArtifactDamaged, Content, new_key
from registry.storage.stores.folder import Folder
from registry.testing.folders import files_below

EARLIER = "iris/1/0123456789abcdef0123456789abcdef.onnx"


def put(folder: Folder, data: bytes) -> tuple[str, Content]:
    staged = receive([data], folder.root, limit_bytes=100)
    content = Content(staged.sha256, staged.size_bytes)
    key = new_key(staged.sha256, ".txt")
    folder.put(staged.path, key, content)
    staged.discard()
    return key, content


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_file_is_found_by_its_digest(folder: Folder) -> None:
    key, content = put(folder, b"abc")

    assert key == f"sha256/{content.sha256[:2]}/{content.sha256}.txt"
    assert files_below(folder.root) == [key]
    with folder.open(key, content) as path:
        assert path.read_bytes() == b"abc"
    assert folder.size(key) == 3


def test_the_same_content_is_kept_once(folder: Folder) -> None:
    keys = {put(folder, b"abc")[0] for _ in range(2)}

    assert files_below(folder.root) == sorted(keys)


def test_a_damaged_file_is_refused_until_it_is_put_again(folder: Folder) -> None:
    key, content = put(folder, b"abc")
    (folder.root / key).write_bytes(b"abd")

    with pytest.raises(ArtifactDamaged), folder.open(key, content):
        pass
    put(folder, b"abc")

    with folder.open(key, content) as path:
        assert path.read_bytes() == b"abc"


def test_a_file_of_another_size_is_refused_without_reading_it(folder: Folder) -> None:
    key, content = put(folder, b"abc")
    (folder.root / key).write_bytes(b"abcd")

    with pytest.raises(ArtifactDamaged), folder.open(key, content, is_verified=False):
        pass


def test_a_missing_file_has_no_size(folder: Folder) -> None:
    assert folder.size("sha256/aa/gone.txt") is None


@pytest.mark.parametrize("key", ["../x.onnx", "a/../../x.onnx", "/etc/passwd", "", ".", "a\0"])
def test_a_path_outside_the_root_is_rejected(key: str, folder: Folder) -> None:
    with pytest.raises(ArtifactRejected):
        folder.path(key)


def test_a_link_out_of_the_root_is_rejected(tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)

    with pytest.raises(ArtifactRejected, match="outside"):
        Folder(root).path("link/x.onnx")


def test_removal_deletes_empty_folders_and_keeps_others(folder: Folder) -> None:
    keys = [put(folder, data)[0] for data in (b"abc", b"xyz")]

    folder.delete(keys[0])
    folder.delete(keys[0])

    assert not (folder.root / keys[0]).parent.exists()
    assert files_below(folder.root) == [keys[1]]


def test_entries_are_artifacts_of_this_release_and_earlier_ones(folder: Folder) -> None:
    key, _ = put(folder, b"abc")
    for name in (EARLIER, ".cache/a/0123.onnx", "notes/of/somebody.txt"):
        path = folder.root / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    os.utime(folder.root / key, (0, 0))

    entries = {entry.key: entry for entry in folder.entries()}

    assert set(entries) == {key, EARLIER}
    assert entries[key].modified_at.year == 1970


def test_a_file_deleted_while_entries_are_listed_is_left_out(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, b"abc")
    monkeypatch.setattr(Path, "is_file", lambda path: path.unlink() is None)

    assert list(folder.entries()) == []
