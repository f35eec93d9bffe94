"""Frameworks are detected by content, and other files are rejected with what they are."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.sniffing import check_framework, sniff
from registry.testing import trained_models

PICKLED = pickle.dumps({"model": [1, 2, 3]})


def write(folder: Path, content: bytes, name: str = "model") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("train", "name", "framework"),
    [
        (trained_models.iris_skops, "m.skops", "sklearn"),
        (trained_models.iris_onnx, "m.onnx", "onnx"),
        (trained_models.iris_xgboost, "m.ubj", "xgboost"),
        (trained_models.iris_xgboost, "m.json", "xgboost"),
        (trained_models.iris_lightgbm, "m.txt", "lightgbm"),
        (trained_models.iris_catboost, "m.cbm", "catboost"),
    ],
)
def test_a_framework_is_detected_by_content_alone(
    train: Callable[[Path], trained_models.Trained], name: str, framework: str, tmp_path: Path
) -> None:
    misnamed = train(tmp_path / name).path.rename(tmp_path / "model.bin")

    assert check_framework(misnamed, None) == framework
    assert check_framework(misnamed, framework) == framework


def test_a_framework_that_contradicts_the_content_is_rejected(tmp_path: Path) -> None:
    path = trained_models.iris_onnx(tmp_path / "m.onnx").path

    with pytest.raises(ArtifactRejected, match=r"'sklearn'.*'onnx'") as caught:
        check_framework(path, "sklearn")

    assert list(caught.value.errors) == ["framework"]


@pytest.mark.parametrize("name", ["model.skops", "model.onnx"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_recognised_under_any_name(
    protocol: int, name: str, tmp_path: Path
) -> None:
    estimator = trained_models.diabetes_skops(tmp_path / "m").estimator
    path = write(tmp_path, pickle.dumps(estimator, protocol), name)

    with pytest.raises(ArtifactRejected, match=r"pickle.*skops\.io\.dump"):
        sniff(path)


@pytest.mark.parametrize(
    ("content", "message"),
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
        (b'{"tree_info": []}', "neither an XGBoost model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"hello, this is not a model", "not a model file"),
        (b"", "empty"),
        (b"PK", "damaged"),
        (bytes(64), "not a model file"),
    ],
)
def test_a_file_that_is_not_a_model_is_rejected_with_what_it_is(
    content: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactRejected, match=message):
        sniff(write(tmp_path, content))


def test_a_zip_bomb_is_rejected(tmp_path: Path) -> None:
    bomb = zipped(**{"schema.json": b"{}", "bomb": bytes(100 * 2**20)})

    with pytest.raises(ArtifactRejected, match="unpacks to"):
        sniff(write(tmp_path, bomb))


@pytest.mark.parametrize(
    "ending", [b"pandas_categorical:nu", b'pandas_categorical:[["a"', b"pandas_cat"]
)
def test_a_lightgbm_file_cut_in_its_last_line_is_rejected(ending: bytes, tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"pandas_categorical")] + ending)

    with pytest.raises(ArtifactRejected, match="last line is incomplete"):
        sniff(path)


def test_a_file_of_the_lightgbm_command_line_tool_is_accepted(tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"pandas_categorical")])

    assert sniff(path) == "lightgbm"


def test_a_large_file_is_not_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as sparse:
        sparse.truncate(2**34)

    with pytest.raises(ArtifactRejected, match="not a model file"):
        sniff(path)


def test_a_numpy_archive_is_rejected_with_what_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", weights=np.ones(3))

    with pytest.raises(ArtifactRejected, match="NumPy arrays"):
        sniff(tmp_path / "m.npz")
