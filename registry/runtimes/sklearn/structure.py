"""Checks of a loaded scikit-learn model whose native code trusts the numbers in its file. No Django
here.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neighbors import BallTree, KDTree
from sklearn.svm._base import BaseLibSVM
from sklearn.tree._tree import Tree

from registry.runtimes.base import LoadError

Part: TypeAlias = BaseEstimator | Tree | TreePredictor | KDTree | BallTree
"""An estimator, or a native tree inside one."""

_WRONG_WIDTH = "a tree for another number of features"
_WRONG_VECTORS = "invalid support vectors"
_FITTED_ATTRIBUTES = ("estimators_", "support_vectors_", "_predictors", "tree_")


def parts_of(model: object) -> Iterator[Part]:
    """The model and every estimator and native tree inside it, each once."""
    seen: set[int] = set()
    queue = [model]
    while queue:
        part = queue.pop()
        if isinstance(part, str | int | float | None) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            queue.extend(part.values())
        elif isinstance(part, list | tuple | set):
            queue.extend(part)
        elif isinstance(part, np.ndarray):
            queue.extend(part.flat if part.dtype == object else ())
        elif isinstance(part, Tree | TreePredictor | KDTree | BallTree):
            yield part
        elif type(part).__module__.startswith("sklearn.") or isinstance(part, BaseEstimator):
            yield part
            queue.extend(getattr(part, "__dict__", {}).values())


def check_structure(part: Part) -> None:
    """Raise LoadError if a number in the file would make native code read outside its memory.

    scikit-learn follows the indices in the nodes of a tree without checking their bounds. So a
    crafted file would load, and crash the process on some later row.
    """
    if isinstance(part, Tree):
        _check_tree(part)
    elif isinstance(part, TreePredictor):
        _check_histogram_tree(part)
    elif isinstance(part, KDTree | BallTree):
        _check_neighbour_tree(part)
    # Parameters such as `estimator` are estimators that were never fitted.
    elif not any(hasattr(part, name) for name in _FITTED_ATTRIBUTES):
        return
    elif isinstance(part, BaseLibSVM):
        _check_support_vectors(part)
    elif isinstance(part, BaseForest | BaseGradientBoosting):
        for tree in np.asarray(part.estimators_, dtype=object).flat:
            _require(
                tree.tree_.n_features == part.n_features_in_,
                _WRONG_WIDTH,
            )
            if isinstance(part, BaseGradientBoosting):
                _require(tree.tree_.value.shape[1:] == (1, 1), "a tree with several values")
    elif isinstance(part, IsolationForest):
        for tree, columns in zip(part.estimators_, part.estimators_features_, strict=True):
            _require(tree.tree_.n_features == len(columns), _WRONG_WIDTH)
    elif hasattr(part, "_predictors") and hasattr(part, "_bin_mapper"):
        _check_histogram_features(part)
    elif hasattr(part, "tree_") and isinstance(part.tree_, Tree):
        _require(part.tree_.n_features == part.n_features_in_, _WRONG_WIDTH)


def _require(is_valid: object, otherwise: str) -> None:
    if not is_valid:
        raise LoadError(f"the file is damaged: it contains {otherwise}. Export the model again")


def _check_children(
    left: np.ndarray, right: np.ndarray, is_inner: np.ndarray, n_nodes: int
) -> None:
    # scikit-learn numbers every child after its parent; a lower number could loop forever.
    parents = np.flatnonzero(is_inner)
    for child in (left[is_inner].astype(np.int64), right[is_inner].astype(np.int64)):
        _require(((child > parents) & (child < n_nodes)).all(), "a tree with an invalid branch")


def _check_tree(tree: Tree) -> None:
    is_inner = tree.children_left != -1
    _require(tree.node_count > 0, "an empty tree")
    _check_children(tree.children_left, tree.children_right, is_inner, tree.node_count)
    features = tree.feature[is_inner]
    _require(
        ((features >= 0) & (features < tree.n_features)).all(),
        _WRONG_WIDTH,
    )


def _check_histogram_tree(tree: TreePredictor) -> None:
    nodes = tree.nodes
    is_inner = nodes["is_leaf"] == 0
    _require(len(nodes) > 0, "an empty tree")
    _check_children(nodes["left"], nodes["right"], is_inner, len(nodes))
    bitsets = tree.raw_left_cat_bitsets
    by_category = nodes[is_inner & (nodes["is_categorical"] == 1)]
    _require((by_category["bitset_idx"] < len(bitsets)).all(), "a tree with an invalid category")
    _require(bitsets.ndim == 2 and bitsets.shape[1] == 8, "a tree with invalid categories")


def _check_histogram_features(model: BaseEstimator) -> None:
    for tree in (tree for stage in model._predictors for tree in stage):
        features = tree.nodes["feature_idx"][tree.nodes["is_leaf"] == 0]
        width = model.n_features_in_
        _require(((features >= 0) & (features < width)).all(), _WRONG_WIDTH)


def _check_neighbour_tree(tree: KDTree | BallTree) -> None:
    data, indices, nodes, bounds, _, n_levels, n_nodes = tree.__getstate__()[:7]
    size = len(data)
    _require(0 < n_levels < 63 and n_nodes == 2**n_levels - 1, "a neighbour tree of the wrong size")
    _require(len(nodes) == n_nodes == bounds.shape[1], "a neighbour tree of the wrong size")
    _require(bounds.shape[2] == data.shape[1], "a neighbour tree for another number of features")
    _require(len(indices) == size, "a neighbour tree of the wrong size")
    _require(((indices >= 0) & (indices < size)).all(), "a neighbour tree with an invalid index")
    for edge in ("idx_start", "idx_end"):
        _require(
            ((nodes[edge] >= 0) & (nodes[edge] <= size)).all(),
            "an invalid neighbour tree",
        )
    _require((nodes["is_leaf"][n_nodes // 2 :] == 1).all(), "a neighbour tree without leaves")


def _check_support_vectors(model: BaseLibSVM) -> None:
    vectors, weights = model.support_vectors_, model._dual_coef_
    _require(vectors.shape == (len(model.support_), model.shape_fit_[1]), _WRONG_VECTORS)
    _require(weights.shape[1] == vectors.shape[0], "support vectors without weights")
    if model._impl in ("c_svc", "nu_svc"):
        classes = len(model.classes_)
        _require(len(model._n_support) == classes == weights.shape[0] + 1, _WRONG_VECTORS)
        _require((model._n_support >= 0).all(), _WRONG_VECTORS)
        _require(model._n_support.sum() == vectors.shape[0], _WRONG_VECTORS)
        _require(len(model._intercept_) == classes * (classes - 1) // 2, _WRONG_VECTORS)
