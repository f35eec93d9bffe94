"""Archives are named by what they hold."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.foreign.advice import TAKES
from registry.artifacts.foreign.tests.examples import tar_of, zip_of
from registry.artifacts.mlflow_folder import read_folder
from registry.testing import trained_models

PICKLED = b"\x80\x04N."
ONNX_COMMAND = "--output model.onnx"


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("members", "what", "instead"),
    [
        (["model/MLmodel", "model/model.pkl"], "MLflow folder", "manage.py register_model FOLDER"),
        (["m/saved_model.pb", "m/variables/x"], "SavedModel", "tf2onnx.convert --saved-model"),
        (["metadata.json", "config.json", "model.weights.h5"], ".keras", ".export('model.onnx'"),
        (["m/Data/com.apple.CoreML/model.mlmodel"], "Core ML package", "skl2onnx.to_onnx"),
        (["m/archive_format", "m/models/model.json"], ".pt2", "torch.export.load('FILE')"),
        (["serialized_exported_program.json", "version"], ".pt2", "torch.export.load('FILE')"),
        (["m/data.pkl", "m/code/x.py", "m/version"], "TorchScript", "dynamo=False"),
        (["archive/data.pkl", "archive/data/0"], "PyTorch file", "torch.onnx.export(model"),
        (["MAR-INF/MANIFEST.json", "model.pt"], "TorchServe", "torch.onnx.export(model"),
        (["model.ini", "domains/d00.txt", "trees/t0.bin"], "H2O MOJO", "convert_h2o('FILE')"),
        (["m/metadata/part-00000", "m/data/part-0.parquet"], "Spark ML", "convert_sparkml("),
        (["config.json", "pytorch_model.bin"], "Hugging Face", "optimum-cli export onnx"),
        (["[Content_Types].xml", "xl/workbook.xml"], "Excel", "skops.io.dump"),
        (["[Content_Types].xml", "word/document.xml"], "Word", "skops.io.dump"),
        (["[Content_Types].xml", "ppt/presentation.xml"], "presentation", "skops.io.dump"),
        (["mimetype", "content.xml"], "Office", "skops.io.dump"),
        (["META-INF/MANIFEST.MF", "a.class"], "Java archive", "skops.io.dump"),
        (["a/__init__.py", "a-1.dist-info/WHEEL"], "Python wheel", "skops.io.dump"),
        (["out/model.onnx"], "holds 'out/model.onnx'", "unzip FILE"),
        (["model.joblib"], "the pickle 'model.joblib'", "manage.py convert_pickle FILE"),
        (["notes.txt", "a.json"], "a zip archive of 'a.json', 'notes.txt'", "skops.io.dump"),
        (["m/model.txt"], "holds 'm/model.txt'", "unzip FILE"),
        (["schema.json", "table.csv"], "a zip archive of 'schema.json', 'table", "skops.io.dump"),
        (["notes.md", "a.py"], "a zip archive of 'a.py', 'notes.md'", "skops.io.dump"),
        ([], "a zip archive of an unknown kind", "skops.io.dump"),
    ],
)
def test_a_zip_archive_is_named_by_its_members(
    refusal: Callable[[bytes], str], members: list[str], what: str, instead: str
) -> None:
    message = refusal(zip_of(dict.fromkeys(members, b"x")))

    assert what in message
    assert TAKES in message
    assert instead in message


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize(
    ("members", "what", "instead"),
    [
        (["./xgboost-model.ubj"], "that holds 'xgboost-model.ubj'", "tar -xf FILE"),
        (["model.joblib", "code/inference.py"], "the pickle 'model.joblib'", "convert_pickle FILE"),
        (["1/saved_model.pb"], "TensorFlow SavedModel", ONNX_COMMAND),
        (["m/MLmodel", "m/model.pkl"], "MLflow folder", "manage.py register_model FOLDER"),
    ],
)
def test_a_tar_archive_is_named_by_its_members(
    refusal: Callable[[bytes], str], mode: str, members: list[str], what: str, instead: str
) -> None:
    message = refusal(tar_of(dict.fromkeys(members, PICKLED), mode))

    assert "a tar archive" in message
    assert ("compressed by" in message) == (mode != "w")
    assert what in message
    assert instead in message


@pytest.mark.parametrize(
    ("compress", "command"),
    [(gzip.compress, "gunzip FILE"), (bz2.compress, "bunzip2 FILE"), (lzma.compress, "unxz FILE")],
)
@pytest.mark.parametrize("suffix", [".onnx", ".txt", ".skops", ".json", ".ubj"])
def test_a_compressed_model_is_to_be_unpacked(
    refusal: Callable[[bytes], str],
    tmp_path: Path,
    compress: Callable[[bytes], bytes],
    command: str,
    suffix: str,
) -> None:
    train = {
        ".onnx": trained_models.iris_onnx,
        ".txt": trained_models.iris_lightgbm,
        ".skops": trained_models.iris_skops,
    }.get(suffix, trained_models.iris_xgboost)

    message = refusal(compress(train(tmp_path / f"m{suffix}").path.read_bytes()))

    assert "a model file compressed by" in message
    assert command in message


def test_a_compressed_table_is_data(refusal: Callable[[bytes], str]) -> None:
    message = refusal(gzip.compress(b"a,b\n1,2\n3,4\n"))

    assert "CSV data, not a model, compressed by gzip" in message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["saved_model.pb", "variables/x"], "SavedModel.*tf2onnx.convert --saved-model FOLDER"),
        (["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"], "Core ML package.*skl2onnx"),
        (["metadata/part-00000", "stages/x"], "Spark ML model.*convert_sparkml"),
        (["config.json", "model.safetensors"], "Hugging Face model.*optimum-cli export onnx"),
        (["notes.txt"], "no MLmodel file. Register a model's file"),
    ],
)
def test_a_folder_is_named_by_its_files(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    with pytest.raises(ArtifactRejected, match=message):
        read_folder(tmp_path)


def test_a_name_of_any_bytes_is_quoted(refusal: Callable[[bytes], str]) -> None:
    for content in (zip_of({"a\nb\x01.md": b""}), tar_of({"a\udc80.md": b"", "b\n.md": b""})):
        message = refusal(content)

        assert "'a\\" in message
        assert message.isprintable()
        assert message.encode()


def test_an_archive_of_arrays_is_data(refusal: Callable[[bytes], str]) -> None:
    assert "NumPy arrays" in refusal(npz())
