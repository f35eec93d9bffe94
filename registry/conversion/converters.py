"""Writes a model of another framework as ONNX. No Django here.

Imports the converters, so only the subprocess `registry.conversion.convert` imports this.
"""

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from onnx import helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common import data_types as boosted_types
from skl2onnx import convert_sklearn
from skl2onnx.common import data_types
from skl2onnx.sklapi import CastTransformer

from registry.signatures.signature import Input, Output, Signature

OnnxModel: TypeAlias = Any
"""An onnx.ModelProto; the library has no type information."""
SourceModel: TypeAlias = Any
"""A fitted estimator or a Booster; the frameworks have no type information."""
TensorType: TypeAlias = Callable[[list[int | None]], object]
Build: TypeAlias = Callable[[], OnnxModel]

# From this opset on, Split needs the number of its outputs.
SPLIT_COUNT_OPSET = 18
# Parts of scikit-learn would otherwise get a later version of ai.onnx.ml.
OPSETS = {"": 18, "ai.onnx.ml": 3}
# Unicode's case rules, available on every Linux. The default, en_US, often is not installed.
LOCALE = "C.UTF-8"
# The converter's own replacement for scikit-learn's default pattern only knows ASCII letters.
SKLEARN_DEFAULT_PATTERN = r"(?u)\b\w\w+\b"
UNICODE_TOKENS = r"[\pL\pN_]+"
# Estimators in these modules cast rows to single precision, whatever comes before them.
TREE_MODULES = (
    "sklearn.tree.",
    "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
    "sklearn.ensemble._iforest",
)


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
    booster = library.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(path.read_bytes()))
    return booster


def _load_skops(path: Path, trusted_types: frozenset[str]) -> SourceModel:
    runtime = importlib.import_module("registry.runtimes.sklearn.runtime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return runtime.read_object(path, trusted_types)


def variants(model: SourceModel, framework: str, signature: Signature) -> Iterator[Variant]:
    """The ways to write this model, starting with the one that should be the most exact."""
    builds_by_framework = {
        "sklearn": _sklearn_builds,
        "xgboost": _xgboost_builds,
        "lightgbm": _lightgbm_builds,
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


def _shape(tensor: Input) -> list[int | None]:
    return [None, prod(tensor.row_shape)]


# -- frameworks: (precision, build) pairs


def _sklearn_builds(model: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    double, single = data_types.DoubleTensorType, data_types.FloatTensorType
    *preparation, last = _pipeline_steps(model)
    builds = [
        ("double", partial(_convert_sklearn, model, signature, double)),
        ("double, then single", partial(_convert_sklearn_with_cast, preparation, last, signature)),
    ]
    if type(last).__module__.startswith(TREE_MODULES):
        builds.reverse()
    return [*builds, ("single", partial(_convert_sklearn, model, signature, single))]


def _convert_sklearn(model: SourceModel, signature: Signature, float_type: TensorType) -> OnnxModel:
    types = {
        "BYTES": data_types.StringTensorType,
        "BOOL": data_types.BooleanTensorType,
        "INT64": data_types.Int64TensorType,
        "FP64": float_type,
    }
    structure = importlib.import_module("registry.runtimes.sklearn.structure")
    inputs = [
        (tensor.name, types[tensor.datatype or ""](_shape(tensor))) for tensor in signature.inputs
    ]
    options: dict[int, dict[str, object]] = {
        id(part): {"locale": LOCALE, "tokenexp": _token_pattern(part)}
        for part in structure.parts_of(model)
        if hasattr(part, "token_pattern")
    }
    convert = partial(convert_sklearn, model, initial_types=inputs, target_opset=OPSETS)
    if signature.outputs[0].kind == "label":
        # Classifiers without scores do not have this option.
        with contextlib.suppress(NameError):
            return convert(options={**options, id(model): {"zipmap": False}})
    return convert(options=options)


def _convert_sklearn_with_cast(
    preparation: Sequence[SourceModel], last: SourceModel, signature: Signature
) -> OnnxModel:
    """Prepare rows in double precision, and cast them to single for the last step, as trees do."""
    pipeline = importlib.import_module("sklearn.pipeline")
    model = pipeline.make_pipeline(*preparation, CastTransformer(), last)
    return _convert_sklearn(model, signature, data_types.DoubleTensorType)


def _pipeline_steps(model: SourceModel) -> list[SourceModel]:
    """The steps of a pipeline, including those of nested ones; any other model is its only step."""
    if not hasattr(model, "steps"):
        return [model]
    steps = [step for _, step in model.steps if step not in (None, "passthrough")]
    return [part for step in steps for part in _pipeline_steps(step)]


def _token_pattern(vectorizer: SourceModel) -> str | None:
    return UNICODE_TOKENS if vectorizer.token_pattern == SKLEARN_DEFAULT_PATTERN else None


def _xgboost_builds(booster: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    def convert() -> OnnxModel:
        best = booster.attr("best_iteration")
        trees = booster if best is None else booster[: int(best) + 1]
        # The converter only accepts its own feature names.
        trees.feature_names = None
        types = [("features", boosted_types.FloatTensorType(_shape(signature.inputs[0])))]
        return convert_xgboost(trees, initial_types=types)

    return [("single", convert)]


def _lightgbm_builds(booster: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    def convert(float_type: TensorType) -> OnnxModel:
        types = [("features", float_type(_shape(signature.inputs[0])))]
        return convert_lightgbm(booster, initial_types=types, zipmap=False)

    return [
        ("double", partial(convert, boosted_types.DoubleTensorType)),
        ("single", partial(convert, boosted_types.FloatTensorType)),
    ]


# -- outputs


def _match_outputs(model: OnnxModel, outputs: Sequence[Output]) -> None:
    """Give the graph the source's outputs: split a tensor of several values, and drop scores that
    the source does not return.
    """
    graph = model.graph
    if len(graph.output) == 1 and len(outputs) > 1 and outputs[0].kind == "value":
        _split_output(model, [output.name for output in outputs])
    del graph.output[len(outputs) :]


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
