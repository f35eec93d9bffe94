import bz2
import gzip
import io
import lzma
import os
import pickle
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from registry.artifacts import store
from registry.artifacts.errors import ArtifactRejected, ArtifactTooLarge
from registry.testing import trained_models

PICKLED = pickle.dumps({"model": [1, 2, 3]})


def everything_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def file(folder: Path, content: bytes, name: str = "model") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


# -- receive, place, resolve, remove


def test_received_bytes_are_hashed_and_private(tmp_path: Path) -> None:
    staged = store.receive([b"ab", b"", b"c"], tmp_path, limit_bytes=3)

    assert staged.path.read_bytes() == b"abc"
    assert staged.size_bytes == 3
    assert staged.sha256 == store.digest(staged.path)
    assert stat.S_IMODE(staged.path.stat().st_mode) & 0o027 == 0


def test_a_file_above_the_limit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactTooLarge, match="limit of 3 bytes"):
        store.receive([b"ab", b"cd"], tmp_path, limit_bytes=3)

    assert everything_below(tmp_path) == []


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abcd"
        pytest.fail("read on above the limit")

    with pytest.raises(ArtifactTooLarge):
        store.receive(chunks(), tmp_path, limit_bytes=3)


def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.receive(chunks(), tmp_path, limit_bytes=100)

    assert everything_below(tmp_path) == []


def test_an_empty_upload_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match="empty") as caught:
        store.receive([], tmp_path, limit_bytes=3)

    assert caught.value.errors == {"artifact": ["The file is empty."]}
    assert everything_below(tmp_path) == []


def test_old_leftovers_are_swept_and_young_ones_kept(tmp_path: Path) -> None:
    old = store.receive([b"old"], tmp_path, limit_bytes=3)
    young = store.receive([b"new"], tmp_path, limit_bytes=3)
    long_ago = time.time() - store.LEFTOVER_AGE_SECONDS - 60
    os.utime(old.path, (long_ago, long_ago))

    store.receive([b"abc"], tmp_path, limit_bytes=3)

    assert not old.path.exists()
    assert young.path.exists()


def test_a_placed_file_is_found_by_its_relative_path(tmp_path: Path) -> None:
    staged = store.receive([b"abc"], tmp_path, limit_bytes=3)

    relative = store.place(staged, tmp_path, "iris", "1.0", ".onnx")

    assert relative.startswith("iris/1.0/")
    assert relative.endswith(".onnx")
    assert store.resolve(tmp_path, relative).read_bytes() == b"abc"
    assert everything_below(tmp_path) == [relative]


def test_two_files_of_one_version_do_not_meet(tmp_path: Path) -> None:
    first, second = (
        store.place(
            store.receive([content], tmp_path, limit_bytes=3), tmp_path, "iris", "1", ".txt"
        )
        for content in (b"abc", b"xyz")
    )

    assert store.resolve(tmp_path, first).read_bytes() == b"abc"
    assert store.resolve(tmp_path, second).read_bytes() == b"xyz"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", ".incoming", "a\0b"])
def test_no_name_leads_out_of_its_folder(name: str, tmp_path: Path) -> None:
    staged = store.receive([b"abc"], tmp_path, limit_bytes=3)

    with pytest.raises(ArtifactRejected):
        store.place(staged, tmp_path, name, "1", ".txt")


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


def test_removal_takes_empty_folders_along_and_keeps_others(tmp_path: Path) -> None:
    paths = [
        store.place(
            store.receive([b"abc"], tmp_path, limit_bytes=3), tmp_path, "iris", version, ".txt"
        )
        for version in ("1", "2")
    ]

    store.remove(tmp_path, paths[0])

    assert not (tmp_path / "iris" / "1").exists()
    assert everything_below(tmp_path) == [paths[1]]


def test_removing_a_missing_file_is_no_error(tmp_path: Path) -> None:
    store.remove(tmp_path, "iris/1/gone.txt")

    assert tmp_path.is_dir()


# -- sniffing


@pytest.mark.parametrize(
    ("train", "name", "framework"),
    [
        (trained_models.iris_skops, "m.skops", "sklearn"),
        (trained_models.iris_onnx, "m.onnx", "onnx"),
        (trained_models.iris_xgboost, "m.ubj", "xgboost"),
        (trained_models.iris_xgboost, "m.json", "xgboost"),
        (trained_models.iris_lightgbm, "m.txt", "lightgbm"),
    ],
)
def test_a_framework_is_told_by_content_alone(
    train: Callable[[Path], trained_models.Trained], name: str, framework: str, tmp_path: Path
) -> None:
    misnamed = train(tmp_path / name).path.rename(tmp_path / "model.bin")

    assert store.check_framework(misnamed, None) == framework
    assert store.check_framework(misnamed, framework) == framework


def test_a_framework_that_contradicts_the_content_is_rejected(tmp_path: Path) -> None:
    path = trained_models.iris_onnx(tmp_path / "m.onnx").path

    with pytest.raises(ArtifactRejected, match=r"'sklearn'.*'onnx'") as caught:
        store.check_framework(path, "sklearn")

    assert list(caught.value.errors) == ["framework"]


@pytest.mark.parametrize("name", ["model.skops", "model.onnx"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_renamed_pickle_of_any_protocol_is_named(
    protocol: int, name: str, tmp_path: Path
) -> None:
    estimator = trained_models.diabetes_skops(tmp_path / "m").estimator
    path = file(tmp_path, pickle.dumps(estimator, protocol), name)

    with pytest.raises(ArtifactRejected, match=r"pickle.*skops\.io\.dump"):
        store.sniff(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zlib.compress(PICKLED), "zlib"),
        (gzip.compress(PICKLED, mtime=0), "gzip"),
        (bz2.compress(PICKLED), "bz2"),
        (lzma.compress(PICKLED), "xz"),
        (lzma.compress(PICKLED, lzma.FORMAT_ALONE), "lzma"),
        (b"\x04\x22\x4d\x18" + PICKLED, "lz4"),
        (zipped(archive__data_dot_pkl=PICKLED), "PyTorch"),
        (zipped(weights_dot_npy=b"\x93NUMPY"), "NumPy"),
        (zipped(saved__model_dot_h5=b"x"), "zip archive"),
        (zipped(**{"m__saved_model.pb": b"x"}), "SavedModel"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (struct.pack("<Q", 20) + b'{"__metadata__":{}}' + bytes(20), "safetensors"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b'{"tree_info": []}', "not a model of XGBoost"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"hello, this is no model", "not a model file"),
        (b"", "empty"),
        (b"PK", "damaged"),
        (bytes(64), "not a model file"),
    ],
)
def test_what_is_no_model_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match=said):
        store.sniff(file(tmp_path, content))


def test_a_zip_bomb_is_rejected(tmp_path: Path) -> None:
    bomb = zipped(**{"schema.json": b"{}", "bomb": bytes(100 * 2**20)})

    with pytest.raises(ArtifactRejected, match="unpacks to"):
        store.sniff(file(tmp_path, bomb))


@pytest.mark.parametrize(
    "ending", [b"pandas_categorical:nu", b'pandas_categorical:[["a"', b"pandas_cat"]
)
def test_lightgbm_text_cut_in_its_last_line_is_rejected(ending: bytes, tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"pandas_categorical")] + ending)

    with pytest.raises(ArtifactRejected, match="last line is incomplete"):
        store.sniff(path)


def test_lightgbm_text_of_the_command_line_tool_is_taken(tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"pandas_categorical")])

    assert store.sniff(path) == "lightgbm"


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as sparse:
        sparse.truncate(2**34)

    with pytest.raises(ArtifactRejected, match="not a model file"):
        store.sniff(path)


def test_numpy_archives_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", weights=np.ones(3))

    with pytest.raises(ArtifactRejected, match="NumPy arrays"):
        store.sniff(tmp_path / "m.npz")
