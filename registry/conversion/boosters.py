"""Writes boosters of XGBoost, LightGBM and CatBoost as ONNX. No Django here.

The converters know few objectives. A booster whose answers have the form of a known objective is
converted under that one's name; the comparison with the original proves that this is right.
"""

import importlib
import json
import tempfile
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common import data_types

from registry.conversion.unconvertible import Unconvertible
from registry.signatures.signature import Signature

OnnxModel: TypeAlias = Any
"""An onnx.ModelProto; the library has no type information."""
SourceModel: TypeAlias = Any
"""A fitted estimator or a Booster; the frameworks have no type information."""
Build: TypeAlias = Callable[[], OnnxModel]

# XGBoost's objectives whose answer is the sum of the trees.
_PLAIN = ("rank:ndcg", "rank:map", "rank:pairwise", "binary:logitraw", "reg:quantileerror")
# Its objectives whose answer is the exponential of that sum.
_EXPONENTIAL = ("survival:cox", "survival:aft")
# LightGBM's objectives whose answer is the sum of the trees. None is for its users' own objectives.
_LIGHTGBM_PLAIN = ("fair", "mape", "custom")
_LIGHTGBM_REFUSED = {
    "multiclassova": "answers with one model per class, which need not add up to 1",
    "cross_entropy": "answers with a logistic function of the trees",
    "cross_entropy_lambda": "answers with a function of the trees",
}


# -- XGBoost


def xgboost_builds(booster: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    def convert() -> OnnxModel:
        _require_matrix(signature)
        best = booster.attr("best_iteration")
        trees = _as_known_xgboost(booster if best is None else booster[: int(best) + 1])
        # The converter only accepts its own feature names.
        trees.feature_names = None
        types = [("features", data_types.FloatTensorType(_shape(signature)))]
        return convert_xgboost(trees, initial_types=types)

    return [("single", convert)]


def _as_known_xgboost(booster: SourceModel) -> SourceModel:
    """The same trees as gbtree, with an objective that the converter knows."""
    document = json.loads(bytes(booster.save_raw("json")))
    learner = document["learner"]
    parameters = learner["learner_model_param"]
    objective = learner["objective"]["name"]
    if int(parameters.get("num_target", 1)) > 1:
        raise Unconvertible("The converter takes XGBoost models of one target only.")
    if objective in ("binary:hinge", "reg:logistic"):
        raise Unconvertible(f"The converter does not know XGBoost's objective {objective}.")
    trees = learner["gradient_booster"]
    if trees["name"] == "gblinear":
        raise Unconvertible("XGBoost's gblinear has no trees, and the converter takes only trees.")
    if trees["name"] == "dart":
        learner["gradient_booster"] = _without_drops(trees)
    if objective in _PLAIN:
        learner["objective"] = {
            "name": "reg:squarederror",
            "reg_loss_param": {"scale_pos_weight": "1"},
        }
    elif objective in _EXPONENTIAL:
        learner["objective"] = {"name": "count:poisson", "poisson_regression_param": {}}
        learner["objective"]["poisson_regression_param"]["max_delta_step"] = "0.7"
    elif trees["name"] != "dart":
        return booster.copy()
    known = type(booster)({"nthread": 1, "verbosity": 0})
    known.load_model(bytearray(json.dumps(document).encode()))
    return known


def _without_drops(dart: dict[str, Any]) -> dict[str, Any]:
    """The trees of dart, each multiplied by its weight, as those of gbtree."""
    booster: dict[str, Any] = {**dart["gbtree"], "name": "gbtree"}
    for tree, weight in zip(booster["model"]["trees"], dart["weight_drop"], strict=True):
        tree["split_conditions"] = [
            # In a leaf, this is its value.
            value * weight if left == -1 else value
            for value, left in zip(tree["split_conditions"], tree["left_children"], strict=True)
        ]
    return booster


# -- LightGBM


def lightgbm_builds(booster: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    def convert(float_type: Callable[[list[int | None]], object]) -> OnnxModel:
        _require_matrix(signature)
        types = [("features", float_type(_shape(signature)))]
        return convert_lightgbm(_as_known_lightgbm(booster), initial_types=types, zipmap=False)

    return [
        ("double", partial(convert, data_types.DoubleTensorType)),
        ("single", partial(convert, data_types.FloatTensorType)),
    ]


def _as_known_lightgbm(booster: SourceModel) -> SourceModel:
    """The same trees with an objective that the converter knows."""
    text: str = booster.model_to_string()
    header, _, _ = text.partition("\nTree=")
    lines = dict(line.partition("=")[::2] for line in header.splitlines())
    objective = lines.get("objective", "custom").partition(" ")[0]
    if objective in _LIGHTGBM_REFUSED:
        raise Unconvertible(
            f"LightGBM's objective {objective} {_LIGHTGBM_REFUSED[objective]}, which the converter"
            " does not do."
        )
    if "average_output" in lines:
        raise Unconvertible(
            "LightGBM's random forest averages its trees, which the converter does not do."
        )
    if "\nis_linear=1" in text:
        raise Unconvertible(
            "The trees have linear models in their leaves (linear_tree), which ONNX cannot hold."
        )
    if '"missing_type": "Zero"' in json.dumps(booster.dump_model()["tree_info"]):
        raise Unconvertible(
            "The model takes zero for a missing value (zero_as_missing), which ONNX cannot hold."
        )
    if objective in _LIGHTGBM_PLAIN and int(lines.get("num_tree_per_iteration", 1)) == 1:
        without = header.replace(f"\nobjective={lines.get('objective', '')}", "")
        changed = without.replace("\nfeature_names=", "\nobjective=regression\nfeature_names=", 1)
        text = text.replace(header, changed, 1)
        # LightGBM keeps the training parameters as well, and the converter reads them first.
        text = text.replace(f"\n[objective: {objective}]", "\n[objective: regression]", 1)
        return type(booster)(params={"verbosity": -1}, model_str=text)
    return booster


# -- CatBoost


def catboost_builds(model: SourceModel, signature: Signature) -> list[tuple[str, Build]]:
    return [("single", partial(_convert_catboost, model))]


def _convert_catboost(model: SourceModel) -> OnnxModel:
    """CatBoost's own export, without the operator that makes maps of its probabilities."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
        except importlib.import_module("catboost").CatBoostError as error:
            text = str(error).rpartition(": ")[2]
            raise Unconvertible(f"CatBoost cannot export this model: {text}.") from error
        graph_model = onnx.load(path)
    graph = graph_model.graph
    maps = {node.output[0]: node for node in graph.node if node.op_type == "ZipMap"}
    for output in graph.output:
        if output.name in maps:
            node = maps[output.name]
            output.CopyFrom(
                onnx.helper.make_tensor_value_info(
                    node.input[0], onnx.TensorProto.FLOAT, [None, None]
                )
            )
            graph.node.remove(node)
    return graph_model


# -- inputs


def _shape(signature: Signature) -> list[int | None]:
    return [None, prod(signature.inputs[0].row_shape)]


def _require_matrix(signature: Signature) -> None:
    if len(signature.inputs) != 1:
        raise Unconvertible("The converter takes numbers only, not categories or other columns.")


def register_estimators() -> None:
    """Let skl2onnx convert the boosters' estimators, inside pipelines as well."""
    skl2onnx = importlib.import_module("skl2onnx")
    shapes = importlib.import_module("skl2onnx.common.shape_calculator")
    for library, function, prefix in (
        ("xgboost", "XGBoost.convert_xgboost", ("XGB", "XGBoostXGB")),
        ("lightgbm", "LightGbm.convert_lightgbm", ("LGBM", "LightGbmLGBM")),
    ):
        try:
            estimators = importlib.import_module(library)
        except ImportError:
            continue
        module, _, name = function.partition(".")
        convert = getattr(
            importlib.import_module(f"onnxmltools.convert.{library}.operator_converters.{module}"),
            name,
        )
        for kind, calculate in (
            ("Classifier", shapes.calculate_linear_classifier_output_shapes),
            ("Regressor", shapes.calculate_linear_regressor_output_shapes),
        ):
            skl2onnx.update_registered_converter(
                getattr(estimators, prefix[0] + kind),
                prefix[1] + kind,
                calculate,
                convert,
                options={"nocl": [True, False], "zipmap": [True, False, "columns"]}
                if kind == "Classifier"
                else ({"split": None} if library == "lightgbm" else {}),
            )
