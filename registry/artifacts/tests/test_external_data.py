"""ONNX models with their weights in files beside them become one file."""

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from django.core.management import CommandError, call_command
from onnx import TensorProto, helper, numpy_helper

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.external_data import _write_single_file, has_external_data
from registry.models import ModelVersion
from registry.runtimes.base import LoadError, LoadOptions
from registry.runtimes.onnx.runtime import load
from registry.testing.folders import MLFLOW_FOLDERS, files_below

WEIGHTS = np.random.default_rng(0).random((256, 2), np.float32)
ROWS = np.random.default_rng(1).random((5, 256), np.float32)


def graph() -> Any:
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("x", 256), ("y", 2))
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    body = helper.make_graph(nodes, "wide", [x], [y], [numpy_helper.from_array(WEIGHTS, "w")])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """The path of a model whose weights are in model.onnx.data."""
    folder = tmp_path / "pair"
    folder.mkdir()
    onnx.save_model(
        graph(), folder / "model.onnx", save_as_external_data=True, location="model.onnx.data"
    )
    assert files_below(folder) == ["model.onnx", "model.onnx.data"]
    return folder / "model.onnx"


def merge(path: Path, limit: int = 2**20) -> Path:
    folder = path.parent / "out"
    folder.mkdir()
    _write_single_file({"path": str(path), "folder": str(folder), "limit": limit})
    return folder / "single.onnx"


def change(path: Path, **entries: str | None) -> None:
    """Set or remove members of the weights' entry."""
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    kept = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in kept.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def test_the_single_file_answers_as_the_pair(pair: Path) -> None:
    single = merge(pair)

    assert has_external_data(pair)
    assert not has_external_data(single)
    outputs = load(single, LoadOptions()).predict({"x": ROWS})
    assert np.allclose(outputs["y"], ROWS @ WEIGHTS, rtol=1e-5)


def test_an_upload_of_the_model_file_says_how_to_write_a_single_one(pair: Path) -> None:
    with pytest.raises(LoadError, match=r"onnx\.save_model\(onnx\.load\('model\.onnx'\), "):
        load(pair, LoadOptions())


def test_weights_without_offset_and_length_are_the_whole_file(pair: Path) -> None:
    change(pair, offset=None, length=None)

    outputs = load(merge(pair), LoadOptions()).predict({"x": ROWS})

    assert np.allclose(outputs["y"], ROWS @ WEIGHTS, rtol=1e-5)


def outside(pair: Path) -> None:
    shutil.move(pair.parent / "model.onnx.data", pair.parent.parent / "secret")
    change(pair, location="../secret")


def absolute(pair: Path) -> None:
    change(pair, location=str(pair.parent / "model.onnx.data"))


def linked(pair: Path) -> None:
    shutil.move(pair.parent / "model.onnx.data", pair.parent.parent / "secret")
    (pair.parent / "model.onnx.data").symlink_to(pair.parent.parent / "secret")


def missing(pair: Path) -> None:
    (pair.parent / "model.onnx.data").unlink()


def truncated(pair: Path) -> None:
    (pair.parent / "model.onnx.data").write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (outside, "outside of its own folder"),
        (absolute, "outside of its own folder"),
        (linked, "outside of its own folder"),
        (missing, "in the file 'model.onnx.data', which is not beside it"),
        (truncated, "'model.onnx.data' is damaged or truncated: 'w' needs bytes 0 to 2048"),
        (lambda pair: change(pair, location=""), "outside of its own folder"),
        (lambda pair: change(pair, location="a\0b"), "not a valid path"),
        (lambda pair: change(pair, location="."), "is not beside it"),
        (lambda pair: change(pair, offset="-4"), "damaged or truncated"),
        (lambda pair: change(pair, length="x"), "is not a number"),
    ],
)
def test_other_files_and_damaged_ones_are_refused(
    pair: Path, break_it: Callable[[Path], None], message: str
) -> None:
    break_it(pair)

    with pytest.raises(ArtifactRejected, match=message):
        merge(pair)


def test_the_size_of_the_single_file_is_limited(pair: Path) -> None:
    with pytest.raises(ArtifactRejected, match="the limit for one file is 2000"):
        merge(pair, limit=2000)


def register(path: Path, *more: str) -> None:
    call_command("register_model", str(path), "--name=wide", *more, stdout=StringIO())


@pytest.mark.slow
@pytest.mark.usefixtures("model_path", "db")
@pytest.mark.parametrize("is_folder", [True, False])
def test_register_model_takes_the_pair(pair: Path, is_folder: bool) -> None:
    register(pair.parent if is_folder else pair, "--version=1")

    version = ModelVersion.objects.get()
    assert version.framework == "onnx"
    assert version.size_bytes is not None
    assert version.size_bytes > WEIGHTS.nbytes
    # The same pair again is the same file.
    register(pair, "--version=1")
    assert ModelVersion.objects.count() == 1


@pytest.mark.usefixtures("model_path", "db")
def test_a_folder_of_several_models_is_ambiguous(pair: Path) -> None:
    shutil.copy(pair, pair.parent / "other.onnx")

    with pytest.raises(CommandError, match=r"several models: model\.onnx, other\.onnx"):
        register(pair.parent)


@pytest.mark.slow
@pytest.mark.usefixtures("model_path", "db")
def test_the_model_file_alone_is_refused_with_the_command_that_joins_them(
    pair: Path, tmp_path: Path
) -> None:
    shutil.copy(pair, tmp_path / "alone.onnx")

    with pytest.raises(CommandError, match="put both files into one folder"):
        register(tmp_path / "alone.onnx")


def test_mlflow_saves_such_pairs() -> None:
    assert has_external_data(MLFLOW_FOLDERS / "onnx_external_data" / "model.onnx")
