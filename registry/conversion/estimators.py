"""Writes estimators and pipelines of scikit-learn as ONNX. No Django here."""

import contextlib
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import TypeAlias

from skl2onnx import convert_sklearn
from skl2onnx.common import data_types
from skl2onnx.sklapi import CastTransformer

from registry.conversion.boosters import Build, OnnxModel, SourceModel, register_estimators
from registry.conversion.unconvertible import Unconvertible
from registry.signatures.signature import Input, Signature

TensorType: TypeAlias = Callable[[list[int | None]], object]

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
    "xgboost.",
)


def sklearn_builds(model: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    double, single = data_types.DoubleTensorType, data_types.FloatTensorType
    labels = [output.name for output in signature.outputs if output.kind == "label"]
    if len(labels) > 1:
        raise Unconvertible(
            f"The model answers {len(labels)} labels at once (multi-label), and its ONNX form would"
            " not say which probabilities belong to which."
        )
    register_estimators()
    _simplify(model)
    *preparation, last = _pipeline_steps(model)
    builds = [
        ("double", partial(_convert, model, signature, double)),
        ("double, then single", partial(_convert_with_cast, preparation, last, signature)),
    ]
    if type(last).__module__.startswith(TREE_MODULES):
        builds.reverse()
    return [*builds, ("single", partial(_convert, model, signature, single))]


def _simplify(model: SourceModel) -> None:
    """Set what does not change an answer, but what the converter does not take.

    It takes no imputer for text. The ONNX form has no missing text anyway, so nothing is left to
    impute.
    """
    structure = importlib.import_module("registry.runtimes.sklearn.structure")
    for part in structure.parts_of(model):
        name = type(part).__name__
        if name == "VotingClassifier":
            part.flatten_transform = False
        elif name == "KBinsDiscretizer" and part.encode == "onehot":
            part.encode = "onehot-dense"
            part._encoder.sparse_output = False
        elif name == "Pipeline":
            part.steps = [(key, _without_text_imputer(step)) for key, step in part.steps]
        elif name == "ColumnTransformer":
            part.transformers_ = [
                (key, _without_text_imputer(step), columns)
                for key, step, columns in part.transformers_
            ]


def _without_text_imputer(step: SourceModel) -> SourceModel:
    statistics = getattr(step, "statistics_", None)
    if type(step).__name__ != "SimpleImputer" or statistics is None or step.add_indicator:
        return step
    is_text = all(isinstance(value, str) for value in statistics)
    if not is_text or isinstance(step.missing_values, str):
        return step
    return importlib.import_module("sklearn.preprocessing").FunctionTransformer()


def _convert(model: SourceModel, signature: Signature, float_type: TensorType) -> OnnxModel:
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


def _convert_with_cast(
    preparation: Sequence[SourceModel], last: SourceModel, signature: Signature
) -> OnnxModel:
    """Prepare rows in double precision, and cast them to single for the last step, as trees do."""
    pipeline = importlib.import_module("sklearn.pipeline")
    model = pipeline.make_pipeline(*preparation, CastTransformer(), last)
    return _convert(model, signature, data_types.DoubleTensorType)


def _pipeline_steps(model: SourceModel) -> list[SourceModel]:
    """The steps of a pipeline, including those of nested ones; any other model is its only step."""
    if not hasattr(model, "steps"):
        return [model]
    steps = [step for _, step in model.steps if step not in (None, "passthrough")]
    return [part for step in steps for part in _pipeline_steps(step)]


def _shape(tensor: Input) -> list[int | None]:
    return [None, prod(tensor.row_shape)]


def _token_pattern(vectorizer: SourceModel) -> str | None:
    return UNICODE_TOKENS if vectorizer.token_pattern == SKLEARN_DEFAULT_PATTERN else None
