"""Where artifacts are kept: placed, found again and removed, never outside the root."""

from pathlib import Path

import pytest

from registry.artifacts import store
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.staging import receive
from registry.testing.folders import files_below


def place(root: Path, content: bytes, name: str = "iris", version: str = "1") -> str:
    staged = receive([content], root, limit_bytes=100)
    relative = store.new_path(name, version, ".txt")
    store.place(staged, root, relative)
    return relative


def test_a_placed_file_is_found_by_its_relative_path(tmp_path: Path) -> None:
    relative = place(tmp_path, b"abc", version="1.0")

    assert relative.startswith("iris/1.0/")
    assert relative.endswith(".txt")
    assert store.resolve(tmp_path, relative).read_bytes() == b"abc"
    assert files_below(tmp_path) == [relative]


def test_two_files_of_one_version_do_not_collide(tmp_path: Path) -> None:
    first, second = place(tmp_path, b"abc"), place(tmp_path, b"xyz")

    assert store.resolve(tmp_path, first).read_bytes() == b"abc"
    assert store.resolve(tmp_path, second).read_bytes() == b"xyz"


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    relative = place(tmp_path, b"abc")
    other = receive([b"xyz"], tmp_path, limit_bytes=3)

    with pytest.raises(FileExistsError):
        store.place(other, tmp_path, relative)

    assert store.resolve(tmp_path, relative).read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", ".incoming", "a\0b"])
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    with pytest.raises(ArtifactRejected):
        store.new_path(name, "1", ".txt")


@pytest.mark.parametrize("relative", ["../x.onnx", "a/../../x.onnx", "/etc/passwd", "", ".", "a\0"])
def test_a_path_outside_the_root_is_rejected(relative: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected):
        store.resolve(tmp_path, relative)


def test_a_link_out_of_the_root_is_rejected(tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)

    with pytest.raises(ArtifactRejected, match="outside"):
        store.resolve(root, "link/x.onnx")


def test_removal_deletes_empty_folders_and_keeps_others(tmp_path: Path) -> None:
    paths = [place(tmp_path, b"abc", version=version) for version in ("1", "2")]

    store.remove(tmp_path, paths[0])

    assert not (tmp_path / "iris" / "1").exists()
    assert files_below(tmp_path) == [paths[1]]


def test_removing_a_missing_file_is_not_an_error(tmp_path: Path) -> None:
    store.remove(tmp_path, "iris/1/gone.txt")

    assert tmp_path.is_dir()
