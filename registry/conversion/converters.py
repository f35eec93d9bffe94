"""Writes a model of another framework as ONNX. No Django here.

Imports the converters, so only the subprocess `registry.conversion.convert` imports this.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onnx import helper

from registry.conversion.boosters import (
    Build,
    OnnxModel,
    SourceModel,
    catboost_builds,
    lightgbm_builds,
    xgboost_builds,
)
from registry.conversion.estimators import sklearn_builds
from registry.signatures.signature import Output, Signature

# From this opset on, Split needs the number of its outputs.
SPLIT_COUNT_OPSET = 18


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to write a model as ONNX. `build` returns the file, and may raise anything."""

    precision: str
    build: Callable[[], bytes]


def load(path: Path, framework: str, trusted_types: frozenset[str]) -> SourceModel:
    """Load a file with its own library: a fitted estimator, or a Booster.

    Only for a file that the framework's runtime has loaded before, since that checks its content.
    """
    if framework == "sklearn":
        return _load_skops(path, trusted_types)
    library = importlib.import_module(framework)
    if framework == "lightgbm":
        return library.Booster(params={"verbosity": -1}, model_str=path.read_text("utf-8"))
    if framework == "catboost":
        return library.CatBoost().load_model(str(path), format="cbm")
    booster = library.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(path.read_bytes()))
    return booster


def _load_skops(path: Path, trusted_types: frozenset[str]) -> SourceModel:
    runtime = importlib.import_module("registry.runtimes.sklearn.runtime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return runtime.read_object(path, trusted_types)


def variants(model: SourceModel, framework: str, signature: Signature) -> Iterator[Variant]:
    """The ways to write this model, starting with the one that should be the most exact.

    Raises Unconvertible if there is none.
    """
    builds_by_framework = {
        "sklearn": sklearn_builds,
        "xgboost": xgboost_builds,
        "lightgbm": lightgbm_builds,
        "catboost": catboost_builds,
    }
    for precision, build in builds_by_framework[framework](model, signature):
        yield Variant(precision, partial(_serialize, build, signature.outputs))


def _serialize(build: Build, outputs: Sequence[Output]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build()
    _match_outputs(model, outputs)
    content: bytes = model.SerializeToString()
    return content


# -- outputs


def _match_outputs(model: OnnxModel, outputs: Sequence[Output]) -> None:
    """Give the graph the source's outputs under their names: split a tensor of several values, and
    drop scores that the source does not return.
    """
    graph = model.graph
    if len(graph.output) == 1 and len(outputs) > 1 and outputs[0].kind == "value":
        _split_output(model, [output.name for output in outputs])
    del graph.output[len(outputs) :]
    for tensor, output in zip(graph.output, outputs, strict=False):
        _rename(model, tensor.name, output.name)


def _rename(model: OnnxModel, old: str, new: str) -> None:
    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    names.update(tensor.name for tensor in (*graph.input, *graph.output, *graph.initializer))
    if old == new or new in names:
        return
    for node in graph.node:
        for group in (node.input, node.output):
            for i, name in enumerate(group):
                if name == old:
                    group[i] = new
    for tensor in graph.output:
        if tensor.name == old:
            tensor.name = new


def _split_output(model: OnnxModel, names: Sequence[str]) -> None:
    graph = model.graph
    whole = graph.output[0]
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    split = helper.make_node("Split", [whole.name], names, axis=1)
    if opset >= SPLIT_COUNT_OPSET:
        split.attribute.append(helper.make_attribute("num_outputs", len(names)))
    graph.node.append(split)
    graph.output.extend(
        helper.make_tensor_value_info(name, whole.type.tensor_type.elem_type, [None, 1])
        for name in names
    )
    del graph.output[0]
