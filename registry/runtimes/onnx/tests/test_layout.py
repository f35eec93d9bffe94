"""How rows may share a call of a graph, as it is proved at registration."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from registry.artifacts import proof
from registry.artifacts.errors import ArtifactRejected
from registry.runtimes.base import InferenceError, LoadOptions, require_valid_outputs
from registry.runtimes.onnx.runtime import load
from registry.signatures.signature import Signature
from registry.testing import onnx_graphs, trained_models

pytestmark = pytest.mark.usefixtures("in_process_sandbox")


def prove(path: Path, declared: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The signature that registration would store."""
    proved = proof.prove(
        path,
        framework="onnx",
        options=LoadOptions(),
        declared=declared,
        example=(),
        timeout_seconds=60,
        memory_bytes=2**30,
    )
    return proved.signature


def iris(path: Path) -> Path:
    return trained_models.iris_onnx(path).path


def iris_in_batches_of_four(path: Path) -> Path:
    return trained_models.iris_onnx(path, batch=4).path


def softmax_of_a_fixed_batch(path: Path) -> Path:
    return onnx_graphs.softmax_graph(path, batch=4)


@pytest.mark.parametrize(
    ("write", "batching"),
    [
        (iris, "joined"),
        (iris_in_batches_of_four, "joined"),
        (onnx_graphs.counting_graph, "joined"),
        (onnx_graphs.quantized_graph, "single"),
        (onnx_graphs.quantized_label_graph, "single"),
        (onnx_graphs.padded_graph, "single"),
        (onnx_graphs.recurrent_graph, "unbatched"),
        (onnx_graphs.running_sum_graph, "unbatched"),
        (onnx_graphs.detector_graph, "unbatched"),
        (onnx_graphs.sum_graph, "unbatched"),
        (softmax_of_a_fixed_batch, "unbatched"),
    ],
)
def test_the_proof_shows_how_rows_may_share_a_call(
    write: Callable[[Path], Path], batching: str, tmp_path: Path
) -> None:
    assert prove(write(tmp_path / "m.onnx"))["batching"] == batching


@pytest.mark.parametrize("write", [onnx_graphs.centred_graph, onnx_graphs.softmax_graph])
def test_an_answer_that_means_nothing_without_other_rows_is_refused(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(ArtifactRejected, match="same answer for every row alone"):
        prove(write(tmp_path / "m.onnx"))


def test_the_owner_can_declare_that_one_input_is_the_complete_tensor(tmp_path: Path) -> None:
    path = onnx_graphs.softmax_graph(tmp_path / "m.onnx")

    signature = prove(path, {"batching": "unbatched"})

    assert signature["batching"] == "unbatched"
    assert signature["inputs"][0]["shape"] == [-1, -1, 3]


def test_the_owner_can_declare_one_row_a_call(tmp_path: Path) -> None:
    assert prove(iris(tmp_path / "m.onnx"), {"batching": "single"})["batching"] == "single"


def test_the_owner_can_declare_that_dependent_items_are_rows(tmp_path: Path) -> None:
    path = onnx_graphs.running_sum_graph(tmp_path / "m.onnx")

    signature = prove(path, {"batching": "single"})

    assert (signature["batching"], signature["inputs"][0]["shape"]) == ("single", [-1, 2])


def test_one_row_a_call_of_a_fixed_batch_can_be_declared(tmp_path: Path) -> None:
    path = iris_in_batches_of_four(tmp_path / "m.onnx")

    assert prove(path, {"batching": "single"})["batching"] == "single"


@pytest.mark.parametrize("batching", ["single", "joined"])
def test_rows_of_a_graph_that_has_none_cannot_be_declared(batching: str, tmp_path: Path) -> None:
    path = onnx_graphs.detector_graph(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected, match="can only be unbatched"):
        prove(path, {"batching": batching})


def test_joining_dependent_rows_cannot_be_declared(tmp_path: Path) -> None:
    path = onnx_graphs.quantized_graph(tmp_path / "m.onnx")

    with pytest.raises(ArtifactRejected, match="depends on the rows beside it"):
        prove(path, {"batching": "joined"})


def test_a_graph_that_answers_by_chance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match=r"by chance \(RandomNormalLike\)"):
        prove(onnx_graphs.sampling_graph(tmp_path / "m.onnx"))


def test_a_detector_returns_all_of_its_boxes(tmp_path: Path) -> None:
    path = onnx_graphs.detector_graph(tmp_path / "m.onnx")
    image = np.array([[[1, -1, -1, 2], [-1, 3, -1, -1], [4, 5, 6, -1]]], np.float32)

    outputs = load(path, LoadOptions()).predict({"image": image[np.newaxis]})

    own = onnx_graphs.own_answer(path, image=image)
    assert outputs["boxes"].shape == (1, 6, 2)
    np.testing.assert_array_equal(outputs["boxes"][0], own["boxes"])
    np.testing.assert_array_equal(outputs["scores"][0], own["scores"])


def test_a_recurrent_graph_takes_sequences_of_any_length(tmp_path: Path) -> None:
    path = onnx_graphs.recurrent_graph(tmp_path / "m.onnx")
    runtime = load(path, LoadOptions())

    for length in (1, 5):
        sequence = np.random.default_rng(length).normal(size=(length, 1, 2)).astype(np.float32)
        outputs = runtime.predict({"x": sequence[np.newaxis]})
        own = onnx_graphs.own_answer(path, x=sequence)
        np.testing.assert_array_equal(outputs["state"][0], own["state"])


def test_rows_that_a_graph_drops_are_never_made_up(tmp_path: Path) -> None:
    runtime = load(onnx_graphs.filter_graph(tmp_path / "m.onnx"), LoadOptions())
    outputs = runtime.predict({"x": np.array([[1, 2], [-2000, 3], [4, 5]], np.float32)})

    with pytest.raises(InferenceError, match=r"shape \[2, 2\] for 3 rows"):
        require_valid_outputs(runtime.signature, outputs, 3)


def test_a_free_output_dimension_stays_free(tmp_path: Path) -> None:
    infos = [onnx_graphs.info(name, ["n", "tokens", 2]) for name in ("x", "y")]
    node = helper.make_node("Relu", ["x"], ["y"])
    path = onnx_graphs.write_graph(tmp_path / "m.onnx", [node], infos[:1], infos[1:])

    assert prove(path)["outputs"][0]["shape"] == [-1, -1, 2]


def test_a_graph_for_large_images_is_proved(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMean", ["image", "axes"], ["y"], keepdims=0)
    path = onnx_graphs.write_graph(
        tmp_path / "m.onnx",
        [node],
        [onnx_graphs.info("image", ["n", 3, 640, 640])],
        [onnx_graphs.info("y", ["n", 3])],
        [onnx_graphs.constant("axes", [2, 3], "int64")],
    )

    assert prove(path)["batching"] == "joined"


def test_serving_takes_the_layout_from_the_stored_signature(tmp_path: Path) -> None:
    path = onnx_graphs.detector_graph(tmp_path / "m.onnx")
    proven = Signature.from_json(prove(path))

    runtime = load(path, LoadOptions(proven=proven))

    assert runtime.signature == proven
