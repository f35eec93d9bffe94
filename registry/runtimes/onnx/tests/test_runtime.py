"""Predictions of ONNX models."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.svm import LinearSVC

from registry.runtimes.base import InferenceError, Outputs
from registry.runtimes.onnx.runtime import OnnxRuntime, load
from registry.signatures.signature import ClassLabel
from registry.testing import trained_models
from registry.testing.onnx_graphs import OPTIONS, doubling_graph, write_graph
from registry.testing.processes import python


def labels(runtime: OnnxRuntime, outputs: Outputs) -> list[ClassLabel]:
    (output,) = [output for output in runtime.signature.outputs if output.kind == "label"]
    return [output.classes[index] for index in outputs[output.name]]


@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize("n_rows", [1, 150])
def test_classifier_predicts_like_the_library(
    n_rows: int, zipmap: bool, batch: int | None, tmp_path: Path
) -> None:
    trained = trained_models.iris_onnx(tmp_path / "m.onnx", zipmap=zipmap, batch=batch)
    rows = trained.rows[:n_rows]
    runtime = load(trained.path, OPTIONS)

    outputs = runtime.predict({"X": rows})

    label, probabilities = runtime.signature.outputs
    assert labels(runtime, outputs) == trained.estimator.predict(rows).tolist()
    assert probabilities.classes == label.classes == ("setosa", "versicolor", "virginica")
    expected = trained.estimator.predict_proba(rows)
    np.testing.assert_allclose(outputs[probabilities.name], expected, atol=1e-6)


def test_regressor_predicts_like_the_library(tmp_path: Path) -> None:
    trained = trained_models.diabetes_onnx(tmp_path / "m.onnx")

    outputs = load(trained.path, OPTIONS).predict({"X": trained.rows})

    assert outputs["variable"].shape == (len(trained.rows), 1)
    expected = trained.estimator.predict(trained.rows)
    np.testing.assert_allclose(outputs["variable"][:, 0], expected, rtol=1e-6)


def test_a_text_and_a_number_input_predict_like_the_library(tmp_path: Path) -> None:
    trained = trained_models.columns_onnx(tmp_path / "m.onnx")
    runtime = load(trained.path, OPTIONS)
    city, seats = trained.rows[:, :1], trained.rows[:, 1:].astype(np.float32)

    outputs = runtime.predict({"city": city, "seats": seats})

    assert [(t.name, t.datatype, t.is_scalar) for t in runtime.signature.inputs] == [
        ("city", "BYTES", True),
        ("seats", "FP32", True),
    ]
    assert labels(runtime, outputs) == trained.estimator.predict(trained.rows).tolist()
    expected = trained.estimator.predict_proba(trained.rows)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.INT32, "INT32"),
    ],
)
def test_each_number_type_is_kept(kind: int, datatype: str, tmp_path: Path) -> None:
    runtime = load(doubling_graph(tmp_path / "m.onnx", kind, ["n", 2]), OPTIONS)
    rows = np.ones((3, 2), dtype=helper.tensor_dtype_to_np_dtype(kind))

    outputs = runtime.predict({"x": rows})

    assert runtime.signature.inputs[0].datatype == datatype
    assert runtime.signature.outputs[0].shape == (-1, 2)
    assert outputs["y"].tolist() == [[2, 2]] * 3


def test_a_tensor_of_higher_rank_keeps_its_shape(tmp_path: Path) -> None:
    runtime = load(doubling_graph(tmp_path / "m.onnx", TensorProto.FLOAT, ["n", 2, 3]), OPTIONS)

    outputs = runtime.predict({"x": np.ones((4, 2, 3), np.float32)})

    assert runtime.signature.inputs[0].shape == (-1, 2, 3)
    assert runtime.signature.outputs[0].shape == (-1, *outputs["y"].shape[1:]) == (-1, 2, 3)


def test_integers_beyond_float_precision_are_exact(tmp_path: Path) -> None:
    runtime = load(doubling_graph(tmp_path / "m.onnx", TensorProto.INT64, ["n", 1]), OPTIONS)

    outputs = runtime.predict({"x": np.array([[2**61 + 1]])})

    assert outputs["y"].tolist() == [[2**62 + 2]]


def test_scores_of_a_linear_svm_keep_its_classes(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    model = LinearSVC().fit(rows, np.arange(60) % 3 + 5)
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(model, rows[:1]).SerializeToString())
    runtime = load(path, OPTIONS)

    outputs = runtime.predict({"X": rows})

    assert runtime.signature.outputs[0].classes == (5, 6, 7)
    assert labels(runtime, outputs) == model.predict(rows).tolist()


def test_missing_values_are_accepted_if_the_graph_handles_nan(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
    y = helper.make_tensor_value_info("y", TensorProto.BOOL, ["n", 1])
    path = write_graph(tmp_path / "m.onnx", [helper.make_node("IsNaN", ["x"], ["y"])], [x], [y])

    assert load(path, OPTIONS).signature.inputs[0].nullable is True
    plain = doubling_graph(tmp_path / "p.onnx", TensorProto.FLOAT, ["n", 1])
    assert load(plain, OPTIONS).signature.inputs[0].nullable is False


def test_an_exception_of_the_library_is_an_inference_error(tmp_path: Path) -> None:
    runtime = load(doubling_graph(tmp_path / "m.onnx", TensorProto.FLOAT, ["n", 2]), OPTIONS)

    with pytest.raises(InferenceError, match="dimensions"):
        runtime.predict({"x": np.ones((1, 5), np.float32)})


def test_importing_the_runtime_disables_telemetry() -> None:
    code = """
import os, sys

os.environ.pop("ORT_DISABLE_TELEMETRY", None)
import registry.runtimes.onnx.graph
assert "onnxruntime" not in sys.modules
import registry.runtimes.onnx.runtime
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""

    assert python(code).stdout.strip() == "1"
