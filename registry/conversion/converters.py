"""The ONNX forms of a model of another framework. No Django here.

Imports the converters: `registry.conversion.convert` imports this in its subprocess alone.
"""

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from onnx import helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common import data_types as boosted_types
from skl2onnx import convert_sklearn
from skl2onnx.common import data_types
from skl2onnx.sklapi import CastTransformer

from registry.signatures.signature import Input, Output, Signature

# From this opset on, Split must be told into how many parts.
SPLIT_COUNTS = 18
# Some of scikit-learn needs a later version of the second unless it is told otherwise.
OPSETS = {"": 18, "ai.onnx.ml": 3}
# The rules of Unicode for upper and lower case, on every Linux: the default, en_US, often is not.
LOCALE = "C.UTF-8"
# The converter's own stand-in for scikit-learn's default pattern knows the letters of ASCII alone.
DEFAULT_TOKENS = r"(?u)\b\w\w+\b"
UNICODE_TOKENS = r"[\pL\pN_]+"
# Estimators of these modules take rows in single precision, whatever came before them.
TREE_MODULES = (
    "sklearn.tree.",
    "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
    "sklearn.ensemble._iforest",
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to write a model as ONNX: `build` answers the bytes, and raises what it likes."""

    precision: str
    build: Callable[[], bytes]


def load(path: Path, framework: str, trusted_types: frozenset[str]) -> Any:
    """The model as its own library reads it: a fitted estimator, or a Booster.

    Only for a file that the framework's runtime has loaded, which checks what is in it.
    """
    if framework == "sklearn":
        return _load_skops(path, trusted_types)
    library = importlib.import_module(framework)
    if framework == "lightgbm":
        return library.Booster(params={"verbosity": -1}, model_str=path.read_text("utf-8"))
    booster = library.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(path.read_bytes()))
    return booster


def _load_skops(path: Path, trusted_types: frozenset[str]) -> Any:
    trust = importlib.import_module("registry.runtimes.sklearn.trusted_types")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("skops.io").load(
            path, trusted=sorted(trust.TRUSTED_TYPES | trusted_types)
        )


def variants(model: Any, framework: str, signature: Signature) -> Iterator[Variant]:
    """The ways to write this model, the one that should keep most of it first."""
    ways = {"sklearn": _sklearn_ways, "xgboost": _xgboost_ways, "lightgbm": _lightgbm_ways}
    for precision, convert in ways[framework](model, signature):
        yield Variant(precision, partial(_written, convert, signature.outputs))


def _written(convert: Callable[[], Any], outputs: Sequence[Output]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert()
    _match_outputs(model, outputs)
    content: bytes = model.SerializeToString()
    return content


def _shape(tensor: Input) -> list[int | None]:
    return [None, prod(tensor.row_shape)]


# -- frameworks


def _sklearn_ways(model: Any, signature: Signature) -> list[tuple[str, Callable[[], Any]]]:
    double, single = data_types.DoubleTensorType, data_types.FloatTensorType
    *prepare, last = _steps(model)
    ways = [
        ("double", partial(_sklearn, model, signature, double)),
        ("double, then single", partial(_sklearn_cast, prepare, last, signature)),
    ]
    if type(last).__module__.startswith(TREE_MODULES):
        ways.reverse()
    return [*ways, ("single", partial(_sklearn, model, signature, single))]


def _sklearn(model: Any, signature: Signature, floating: Any) -> Any:
    types = {
        "BYTES": data_types.StringTensorType,
        "BOOL": data_types.BooleanTensorType,
        "INT64": data_types.Int64TensorType,
        "FP64": floating,
    }
    trust = importlib.import_module("registry.runtimes.sklearn.structure")
    inputs = [
        (tensor.name, types[tensor.datatype or ""](_shape(tensor))) for tensor in signature.inputs
    ]
    options: dict[int, dict[str, Any]] = {
        id(part): {"locale": LOCALE, "tokenexp": _tokens(part)}
        for part in trust.parts_of(model)
        if hasattr(part, "token_pattern")
    }
    convert = partial(convert_sklearn, model, initial_types=inputs, target_opset=OPSETS)
    if signature.outputs[0].kind == "label":
        # Classifiers without scores of their own do not know the option.
        with contextlib.suppress(NameError):
            return convert(options={**options, id(model): {"zipmap": False}})
    return convert(options=options)


def _sklearn_cast(prepare: Sequence[Any], last: Any, signature: Signature) -> Any:
    """With its last step in single precision, as trees are, after preparing rows in double."""
    pipeline = importlib.import_module("sklearn.pipeline")
    model = pipeline.make_pipeline(*prepare, CastTransformer(), last)
    return _sklearn(model, signature, data_types.DoubleTensorType)


def _steps(model: Any) -> list[Any]:
    """The steps of a pipeline, of pipelines inside it too; of another model, itself alone."""
    if not hasattr(model, "steps"):
        return [model]
    present = [step for _, step in model.steps if step not in (None, "passthrough")]
    return [part for step in present for part in _steps(step)]


def _tokens(vectorizer: Any) -> str | None:
    return UNICODE_TOKENS if vectorizer.token_pattern == DEFAULT_TOKENS else None


def _xgboost_ways(booster: Any, signature: Signature) -> list[tuple[str, Callable[[], Any]]]:
    def convert() -> Any:
        best = booster.attr("best_iteration")
        trees = booster if best is None else booster[: int(best) + 1]
        # The converter takes no names but its own.
        trees.feature_names = None
        types = [("features", boosted_types.FloatTensorType(_shape(signature.inputs[0])))]
        return convert_xgboost(trees, initial_types=types)

    return [("single", convert)]


def _lightgbm_ways(booster: Any, signature: Signature) -> list[tuple[str, Callable[[], Any]]]:
    def convert(floating: Any) -> Any:
        types = [("features", floating(_shape(signature.inputs[0])))]
        return convert_lightgbm(booster, initial_types=types, zipmap=False)

    return [
        ("double", partial(convert, boosted_types.DoubleTensorType)),
        ("single", partial(convert, boosted_types.FloatTensorType)),
    ]


# -- outputs


def _match_outputs(model: Any, outputs: Sequence[Output]) -> None:
    """Give the graph one output for each of the source's: a tensor of several values is split, and
    scores that the source does not answer are left out.
    """
    graph = model.graph
    if len(graph.output) == 1 and len(outputs) > 1 and outputs[0].kind == "value":
        _split(model, [output.name for output in outputs])
    del graph.output[len(outputs) :]


def _split(model: Any, names: Sequence[str]) -> None:
    graph = model.graph
    whole = graph.output[0]
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    split = helper.make_node("Split", [whole.name], names, axis=1)
    if opset >= SPLIT_COUNTS:
        split.attribute.append(helper.make_attribute("num_outputs", len(names)))
    graph.node.append(split)
    graph.output.extend(
        helper.make_tensor_value_info(name, whole.type.tensor_type.elem_type, [None, 1])
        for name in names
    )
    del graph.output[0]
