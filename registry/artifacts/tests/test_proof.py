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

from registry.artifacts import proof, store
from registry.artifacts.proof import Proof, prove
from registry.artifacts.store import ArtifactRejected
from registry.runtimes.base import LoadOptions
from registry.testing import trained_models

MEMORY_BYTES = 2**30

pytestmark = pytest.mark.slow


def proved(
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


def endless(path: Path, turns: int = 2**62) -> Path:
    """A graph that loops for ever."""
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
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "xy"]
    count = helper.make_tensor("turns", TensorProto.INT64, [], [turns])
    body = helper.make_graph([node], "g", told[:1], told[1:], initializer=[count])
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
    ],
)
def test_a_sound_model_is_proved(
    train: Callable[[Path], trained_models.Trained], name: str, framework: str, tmp_path: Path
) -> None:
    trained = train(tmp_path / name)

    proven = proved(trained.path, framework, example=[{"features": [5.1, 3.5, 1.4, 0.2]}])

    assert [output["kind"] for output in proven.signature["outputs"]] == ["label", "probabilities"]
    assert proven.signature["inputs"][0]["shape"] == [-1, 4]
    assert proven.libraries


def test_example_rows_give_the_types_that_the_file_does_not(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "m.skops")
    row = {"age": 44.5, "city": "Bern", "review": "good film", "seats": 2}

    proven = proved(trained.path, "sklearn", example=[row])

    types = {tensor["name"]: tensor["datatype"] for tensor in proven.signature["inputs"]}
    assert types == {"age": "FP64", "city": "BYTES", "review": "BYTES", "seats": "INT64"}


def test_a_column_of_unknown_type_is_named(tmp_path: Path) -> None:
    trained = trained_models.mixed_skops(tmp_path / "m.skops")

    with pytest.raises(ArtifactRejected, match="'seats'") as caught:
        proved(trained.path, "sklearn")

    assert list(caught.value.errors) == ["signature"]


@pytest.mark.parametrize(
    ("example", "field"),
    [
        ([{"features": [1, 2, 3, 4]}, {"features": [1, 2, "x", 4]}], "example[1].features[2]"),
        ([{"features": [1, 2, 3]}], "example[0].features"),
        ([7], "example[0]"),
    ],
)
def test_an_example_row_that_does_not_fit_is_named(
    example: list[object], field: str, tmp_path: Path
) -> None:
    trained = trained_models.iris_onnx(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected) as caught:
        proved(trained.path, "onnx", example=example)

    assert list(caught.value.errors) == [field]


def test_a_malformed_signature_is_named(tmp_path: Path) -> None:
    trained = trained_models.iris_onnx(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected) as caught:
        proved(trained.path, "onnx", declared={"inputs": [{"name": "Y"}]})

    assert list(caught.value.errors) == ["signature"]


def test_scores_under_the_name_of_probabilities_become_values(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    model = to_onnx(LinearSVC().fit(rows, np.arange(60) % 3), rows[:1])
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())

    proven = proved(path, "onnx")

    assert [output["kind"] for output in proven.signature["outputs"]] == ["label", "value"]


def test_an_answer_of_nan_to_an_example_is_rejected(tmp_path: Path) -> None:
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "xy"]
    body = helper.make_graph([helper.make_node("Log", ["x"], ["y"])], "g", told[:1], told[1:])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )

    assert proved(path, "onnx", example=[{"x": 2.0}])
    with pytest.raises(ArtifactRejected, match="NaN or infinity") as caught:
        proved(path, "onnx", example=[{"x": -1.0}])

    assert list(caught.value.errors) == ["example"]


def test_a_model_that_refuses_made_up_rows_asks_for_example_rows(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in ("xk", "yj"))
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [1.0] * 6)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    body = helper.make_graph([node], "g", [x], [y], initializer=[weights])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )

    with pytest.raises(ArtifactRejected, match=r"made-up rows: .*send example rows"):
        proved(path, "onnx")
    assert proved(path, "onnx", example=[{"x": [1.0, 2.0, 3.0]}])


def test_a_model_without_end_is_stopped(tmp_path: Path) -> None:
    path = endless(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected, match="took longer than 3 s"):
        proved(path, "onnx", timeout_seconds=3)


def test_a_model_above_the_memory_limit_is_rejected(tmp_path: Path) -> None:
    told = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2**30])
    size = helper.make_tensor("size", TensorProto.INT64, [2], [1, 2**30])
    node = helper.make_node("Expand", ["x", "size"], ["y"])
    body = helper.make_graph([node], "g", [told], [answer], initializer=[size])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )

    with pytest.raises(ArtifactRejected, match="more than 512 MiB"):
        proved(path, "onnx", memory_bytes=512 * 2**20)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_parser_that_dies_is_a_rejection(part: float, tmp_path: Path) -> None:
    path = trained_models.iris_lightgbm(tmp_path / "m.txt").path
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(ArtifactRejected):
        proved(path, "lightgbm")


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
@pytest.mark.parametrize("part", [0.05, 0.5, 0.98])
def test_a_truncated_file_is_rejected(
    train: Callable[[Path], trained_models.Trained], name: str, part: float, tmp_path: Path
) -> None:
    path = train(tmp_path / name).path
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(ArtifactRejected):
        proved(path, store.check_framework(path, None))


def test_a_signal_is_named() -> None:
    assert "SIGSEGV" in proof._death(-11, 60, MEMORY_BYTES)


def test_the_subprocess_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("DATABASE_URL", "hidden")

    assert "hidden" not in proof._environment().values()


def test_a_working_directory_elsewhere_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_models.diabetes_onnx(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)

    assert proved(Path(trained.path.name), "onnx").signature["outputs"][0]["kind"] == "value"


def test_the_proof_loads_no_django() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import registry.artifacts.proof"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert "registry.artifacts.proof" in told
    assert "django" not in told
    assert "sklearn" not in told
