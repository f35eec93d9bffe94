"""Models are loaded and scored before they are registered; bad ones are rejected."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.svm import LinearSVC

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import Proof, prove
from registry.artifacts.sniffing import check_framework
from registry.runtimes.base import LoadOptions
from registry.testing import trained_models

MEMORY_BYTES = 2**30

pytestmark = pytest.mark.slow


def prove_file(
    path: Path,
    framework: str,
    declared: dict[str, Any] | None = None,
    example: Sequence[object] = (),
    timeout_seconds: float = 60,
    memory_bytes: int = MEMORY_BYTES,
) -> Proof:
    return prove(
        path,
        framework=framework,
        options=LoadOptions(),
        declared=declared,
        example=example,
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
    )


def write_endless_model(path: Path) -> Path:
    """Write a model that loops for years."""
    step = helper.make_graph(
        [helper.make_node("Identity", [i], [o]) for i, o in (("c", "c2"), ("v", "v2"))],
        "step",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["y"], body=step)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "xy")
    count = helper.make_tensor("turns", TensorProto.INT64, [], [2**62])
    body = helper.make_graph([node], "g", [x], [y], initializer=[count])
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )
    return path


@pytest.mark.parametrize(
    ("train", "name", "framework"),
    [
        (trained_models.iris_skops, "m.skops", "sklearn"),
        (trained_models.iris_onnx, "m.onnx", "onnx"),
        (trained_models.iris_xgboost, "m.ubj", "xgboost"),
        (trained_models.iris_lightgbm, "m.txt", "lightgbm"),
        (trained_models.iris_catboost, "m.cbm", "catboost"),
    ],
)
def test_a_sound_model_is_proved(
    train: Callable[[Path], trained_models.Trained], name: str, framework: str, tmp_path: Path
) -> None:
    trained = train(tmp_path / name)

    proof = prove_file(trained.path, framework, example=[{"features": [5.1, 3.5, 1.4, 0.2]}])

    assert [output["kind"] for output in proof.signature["outputs"]] == ["label", "probabilities"]
    assert proof.signature["inputs"][0]["shape"] == [-1, 4]
    assert proof.libraries


def test_example_rows_supply_types_missing_from_the_file(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "m.skops")
    row = {"age": 44.5, "city": "Bern", "review": "good film", "seats": 2}

    proof = prove_file(trained.path, "sklearn", example=[row])

    types = {tensor["name"]: tensor["datatype"] for tensor in proof.signature["inputs"]}
    assert types == {"age": "FP64", "city": "BYTES", "review": "BYTES", "seats": "INT64"}


def test_a_column_of_unknown_type_is_reported(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "m.skops")

    with pytest.raises(ArtifactRejected, match="'seats'") as caught:
        prove_file(trained.path, "sklearn")

    assert list(caught.value.errors) == ["signature"]


@pytest.mark.parametrize(
    ("example", "field"),
    [
        ([{"features": [1, 2, 3, 4]}, {"features": [1, 2, "x", 4]}], "example[1].features[2]"),
        ([{"features": [1, 2, 3]}], "example[0].features"),
        ([7], "example[0]"),
    ],
)
def test_an_invalid_example_row_is_reported(
    example: list[object], field: str, tmp_path: Path
) -> None:
    trained = trained_models.iris_onnx(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected) as caught:
        prove_file(trained.path, "onnx", example=example)

    assert list(caught.value.errors) == [field]


def test_an_invalid_signature_is_reported(tmp_path: Path) -> None:
    trained = trained_models.iris_onnx(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected) as caught:
        prove_file(trained.path, "onnx", declared={"inputs": [{"name": "Y"}]})

    assert list(caught.value.errors) == ["signature"]


def test_a_message_keeps_the_case_of_the_field_that_it_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "remote.json"
    path.write_text('{"url": "ftp://host", "model": "iris"}')

    with pytest.raises(ArtifactRejected, match=r"^url: must be http"):
        prove_file(path, "open-inference")


def test_scores_named_probabilities_become_values(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    model = to_onnx(LinearSVC().fit(rows, np.arange(60) % 3), rows[:1])
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())

    proof = prove_file(path, "onnx")

    assert [output["kind"] for output in proof.signature["outputs"]] == ["label", "value"]


def test_nan_for_an_example_row_is_rejected(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "xy")
    body = helper.make_graph([helper.make_node("Log", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )

    assert prove_file(path, "onnx", example=[{"x": 2.0}])
    with pytest.raises(ArtifactRejected, match="NaN or infinity") as caught:
        prove_file(path, "onnx", example=[{"x": -1.0}])

    assert list(caught.value.errors) == ["example"]


def test_a_model_that_fails_on_synthetic_rows_needs_example_rows(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in ("xk", "yj"))
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [1.0] * 6)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    body = helper.make_graph([node], "g", [x], [y], initializer=[weights])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )

    with pytest.raises(ArtifactRejected, match=r"synthetic rows: .*send example rows"):
        prove_file(path, "onnx")
    assert prove_file(path, "onnx", example=[{"x": [1.0, 2.0, 3.0]}])


def test_an_endless_model_is_stopped(tmp_path: Path) -> None:
    path = write_endless_model(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected, match="took longer than 3 s"):
        prove_file(path, "onnx", timeout_seconds=3)


def test_a_model_above_the_memory_limit_is_rejected(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2**30])
    size = helper.make_tensor("size", TensorProto.INT64, [2], [1, 2**30])
    node = helper.make_node("Expand", ["x", "size"], ["y"])
    body = helper.make_graph([node], "g", [x], [y], initializer=[size])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )

    with pytest.raises(ArtifactRejected, match="more than 512 MiB"):
        prove_file(path, "onnx", memory_bytes=512 * 2**20)


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
def test_a_crash_of_the_parser_rejects_the_file(fraction: float, tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])

    with pytest.raises(ArtifactRejected):
        prove_file(path, "lightgbm")


@pytest.mark.parametrize(
    ("train", "name"),
    [
        (trained_models.iris_skops, "m.skops"),
        (trained_models.iris_onnx, "m.onnx"),
        (trained_models.iris_xgboost, "m.ubj"),
        (trained_models.iris_xgboost, "m.json"),
        (trained_models.iris_lightgbm, "m.txt"),
    ],
)
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.98])
def test_a_truncated_file_is_rejected(
    train: Callable[[Path], trained_models.Trained], name: str, fraction: float, tmp_path: Path
) -> None:
    path = train(tmp_path / name).path
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])

    with pytest.raises(ArtifactRejected):
        prove_file(path, check_framework(path, None))


def test_a_relative_path_works_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_models.diabetes_onnx(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)

    assert prove_file(Path(trained.path.name), "onnx").signature["outputs"][0]["kind"] == "value"


def test_the_proof_loads_no_django() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import registry.artifacts.proof"]
    imports = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert "registry.artifacts.proof" in imports
    assert "django" not in imports
    assert "sklearn" not in imports
