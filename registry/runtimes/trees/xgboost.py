"""Checks the trees of a loaded XGBoost model. No Django here.

They are read from what XGBoost itself writes of what it has loaded, so that no file is read
differently here than there.

Source: doc/model.schema and src/tree/tree_model.cc in dmlc/xgboost.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.runtimes.base import LoadError
from registry.runtimes.trees.branches import check_branches, check_indexes, require
from registry.runtimes.trees.ubjson import read_ubjson

_IS_CATEGORICAL = 1
_WRONG_CATEGORY = "a tree with an invalid category"
VECTOR_LEAVES = "its trees have leaves of several values, which are not checked"


def check_booster(content: bytes) -> str:
    """Check a model in XGBoost's UBJSON; return why a call might fail all the same, or "".

    Raises LoadError if a prediction could leave the memory of the model, or never end.
    """
    try:
        learner = read_ubjson(content)["learner"]
        parameters = learner["learner_model_param"]
        width = int(parameters["num_feature"])
        n_groups = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
        booster = learner["gradient_booster"]
        if booster["name"] == "gblinear":
            weights = booster["model"]["weights"]
            require(len(weights) == (width + 1) * n_groups, "weights of the wrong number")
            return ""
        if booster["name"] == "dart":
            n_trees = len(booster["gbtree"]["model"]["trees"])
            require(len(booster["weight_drop"]) == n_trees, "trees without their weights")
            booster = booster["gbtree"]
        return _check_model(booster["model"], width, n_groups)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise LoadError(f"the trees of the XGBoost model cannot be checked: {error}") from error


def _check_model(model: Mapping[str, Any], width: int, n_groups: int) -> str:
    trees = model["trees"]
    rounds = np.asarray(model["iteration_indptr"])
    require(
        len(rounds)
        and rounds[0] == 0
        and rounds[-1] == len(trees)
        and (np.diff(rounds) >= 0).all(),
        "rounds of the wrong size",
    )
    groups = np.asarray(model["tree_info"], dtype=np.int64)
    require(len(groups) == len(trees), "trees without their groups")
    check_indexes(groups, n_groups, "a tree of an unknown group")
    for tree in trees:
        _check_tree(tree, width)
    has_vectors = any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees)
    return VECTOR_LEAVES if has_vectors else ""


def _check_tree(tree: Mapping[str, Any], width: int) -> None:
    n_nodes = int(tree["tree_param"]["num_nodes"])
    left, right, features = (
        np.asarray(tree[name], dtype=np.int64)
        for name in ("left_children", "right_children", "split_indices")
    )
    require(len(left) == len(right) == len(features) == n_nodes > 0, "a tree of the wrong size")
    is_inner = left != -1
    check_branches(np.concatenate([left[is_inner], right[is_inner]]), n_nodes)
    check_indexes(features[is_inner], width, "a tree for another number of features")
    _check_categories(tree, is_inner)


def _check_categories(tree: Mapping[str, Any], is_inner: np.ndarray) -> None:
    kinds = np.asarray(tree["split_type"])
    nodes, starts, sizes, categories = (
        np.asarray(tree[name], dtype=np.int64)
        for name in ("categories_nodes", "categories_segments", "categories_sizes", "categories")
    )
    by_category = np.flatnonzero(is_inner & (kinds == _IS_CATEGORICAL))
    require(
        len(nodes) == len(starts) == len(sizes)
        and np.isin(by_category, nodes).all()
        and (starts >= 0).all()
        and (sizes >= 0).all()
        and (starts + sizes <= len(categories)).all()
        and (categories >= 0).all(),
        _WRONG_CATEGORY,
    )
