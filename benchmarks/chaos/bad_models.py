"""Writes models that turn bad on some inputs: `python -m benchmarks.chaos.bad_models FOLDER`.

- `endless.onnx` runs a loop as many times as its largest feature says.
- `poison.txt` is a LightGBM model that reads far outside of a row that is close to POISON: the
  process that scores it dies by a signal. A service may refuse the file.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from lightgbm import Dataset, train
from onnx import TensorProto, helper

from benchmarks.chaos.bad_inputs import POISON

N_FEATURES = 4
SEED = 20240229
# The feature that `poison.txt` asks for.
OUT_OF_RANGE = 2_000_000_000
TREE = {
    "num_leaves": "5",
    "split_feature": f"0 0 0 {OUT_OF_RANGE}",
    "split_gain": "1 1 1 1",
    "threshold": f"-1000000 {POISON - 0.05} {POISON + 0.05} 0.5",
    "decision_type": "2 2 2 2",
    # A negative child is a leaf: -1 is the first.
    "left_child": "-1 -2 3 -4",
    "right_child": "1 2 -3 -5",
    "leaf_value": "1 2 3 4 5",
    "leaf_weight": "1 1 1 1 1",
    "leaf_count": "1 1 1 1 1",
    "internal_value": "0 0 0 0",
    "internal_weight": "1 1 1 1",
    "internal_count": "4 3 2 1",
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "endless.onnx").write_bytes(endless().SerializeToString())
    (folder / "poison.txt").write_text(poison())


def endless() -> onnx.ModelProto:
    """The sum of each row, after a loop that runs as many times as the largest feature says."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going_on"], ["still_going_on"]),
            helper.make_node("Add", ["total", "one"], ["next_total"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("still_going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_total", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["input"], ["largest"], keepdims=0),
            helper.make_node("Cast", ["largest"], ["trips"], to=TensorProto.INT64),
            helper.make_node("Loop", ["trips", "true", "zero"], ["total"], body=body),
            helper.make_node("ReduceSum", ["input", "axis"], ["sums"], keepdims=0),
            helper.make_node("Mul", ["total", "zero"], ["nothing"]),
            helper.make_node("Add", ["sums", "nothing"], ["output"]),
        ],
        "endless",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, N_FEATURES])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None])],
        [
            helper.make_tensor("true", TensorProto.BOOL, [], [True]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def poison() -> str:
    """A LightGBM model whose second tree asks for a feature that does not exist, but only for a row
    close to POISON: the rows of a trial are not likely to get there.
    """
    rows = np.random.default_rng(SEED).uniform(0, 2, (200, N_FEATURES))
    parameters = {"num_leaves": 2, "verbose": -1, "seed": SEED}
    text = train(parameters, Dataset(rows, rows[:, 0]), num_boost_round=2).model_to_string()
    # A service may look at the first tree when it loads the file.
    healthy, second, tree = text.partition("Tree=1\n")
    lines = []
    for line in tree.splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}={TREE[name]}" if name in TREE else line)
    changed = f"{healthy}{second}" + "\n".join(lines) + "\n"
    # LightGBM refuses sizes that do not fit; without any, it counts itself.
    return "".join(line for line in changed.splitlines(True) if not line.startswith("tree_sizes="))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
