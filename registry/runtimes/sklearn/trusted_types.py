"""What a `.skops` file may hold: the types that are built from it, and the checks of those whose
native code trusts its own numbers. No Django here.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.neighbors import BallTree, KDTree
from sklearn.svm._base import BaseLibSVM
from sklearn.tree._tree import Tree

from registry.runtimes.base import LoadError

# A search keeps the scorer it was made with.
_SCORER_FUNCTIONS = frozenset(
    f"{function.__module__}.{function.__name__}"
    for function in (get_scorer(name)._score_func for name in get_scorer_names())
)
# skops itself trusts scikit-learn's estimators, numpy's ufuncs and plain containers. These are
# what their fitted forms hold besides, found by dumping every estimator there is. The functions are
# pure computations on arrays; nothing here reads a file, calls a callable it is given, or imports.
TRUSTED_TYPES = frozenset(
    (
        "functools.partial",
        "numpy.dtype",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.interpolate._interpolate.interp1d",
        "scipy.sparse._csr.csr_array",
        "scipy.sparse._csr.csr_matrix",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.cluster._kmeans._kmeans_single_elkan",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.feature_selection._univariate_selection.r_regression",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        *(
            f"sklearn.gaussian_process.kernels.{kernel}"
            for kernel in (
                "CompoundKernel",
                "ConstantKernel",
                "DotProduct",
                "Exponentiation",
                "ExpSineSquared",
                "Matern",
                "Product",
                "RBF",
                "RationalQuadratic",
                "Sum",
                "WhiteKernel",
            )
        ),
        *(
            f"sklearn.metrics._dist_metrics.{metric}Distance{bits}"
            for metric in ("Chebyshev", "Euclidean", "Haversine", "Manhattan", "Minkowski")
            for bits in (32, 64)
        ),
        *_SCORER_FUNCTIONS,
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",
        "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils.validation.check_array",
    )
)


_FITTED = ("estimators_", "support_vectors_", "_predictors", "tree_")


def parts_of(model: object) -> Iterator[Any]:
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


def check_structure(part: Any) -> None:
    """Raise LoadError where a number in the file would lead native code outside its memory.

    The trees of scikit-learn follow the indices in their nodes without a look at their bounds, so
    that a crafted file loads, and ends the process on some later row.
    """
    if isinstance(part, Tree):
        _check_tree(part)
    elif isinstance(part, TreePredictor):
        _check_histogram_tree(part)
    elif isinstance(part, KDTree | BallTree):
        _check_neighbour_tree(part)
    # A parameter such as `estimator` holds an estimator that was never fitted.
    elif not any(hasattr(part, name) for name in _FITTED):
        return
    elif isinstance(part, BaseLibSVM):
        _check_support_vectors(part)
    elif isinstance(part, BaseForest | BaseGradientBoosting):
        for tree in np.asarray(part.estimators_, dtype=object).flat:
            _require(tree.tree_.n_features == part.n_features_in_, "a tree of another width")
            if isinstance(part, BaseGradientBoosting):
                _require(tree.tree_.value.shape[1:] == (1, 1), "a tree of several values")
    elif isinstance(part, IsolationForest):
        for tree, columns in zip(part.estimators_, part.estimators_features_, strict=True):
            _require(tree.tree_.n_features == len(columns), "a tree of another width")
    elif hasattr(part, "_predictors") and hasattr(part, "_bin_mapper"):
        _check_histogram_features(part)
    elif hasattr(part, "tree_") and isinstance(part.tree_, Tree):
        _require(part.tree_.n_features == part.n_features_in_, "a tree of another width")


def _require(is_sound: object, what: str) -> None:
    if not is_sound:
        raise LoadError(f"the file is damaged: it holds {what}. Export the model again")


def _check_children(
    left: np.ndarray, right: np.ndarray, is_inner: np.ndarray, n_nodes: int
) -> None:
    # Every builder numbers a child after its parent; a lower number would be a loop without end.
    own = np.flatnonzero(is_inner)
    for child in (left[is_inner].astype(np.int64), right[is_inner].astype(np.int64)):
        _require(((child > own) & (child < n_nodes)).all(), "a tree with a wrong branch")


def _check_tree(tree: Any) -> None:
    is_inner = tree.children_left != -1
    _require(tree.node_count > 0, "an empty tree")
    _check_children(tree.children_left, tree.children_right, is_inner, tree.node_count)
    features = tree.feature[is_inner]
    _require(((features >= 0) & (features < tree.n_features)).all(), "a tree of another width")


def _check_histogram_tree(tree: Any) -> None:
    nodes = tree.nodes
    is_inner = nodes["is_leaf"] == 0
    _require(len(nodes) > 0, "an empty tree")
    _check_children(nodes["left"], nodes["right"], is_inner, len(nodes))
    bitsets = tree.raw_left_cat_bitsets
    by_category = nodes[is_inner & (nodes["is_categorical"] == 1)]
    _require((by_category["bitset_idx"] < len(bitsets)).all(), "a tree with a wrong category")
    _require(bitsets.ndim == 2 and bitsets.shape[1] == 8, "a tree with wrong categories")


def _check_histogram_features(model: Any) -> None:
    for tree in (tree for stage in model._predictors for tree in stage):
        features = tree.nodes["feature_idx"][tree.nodes["is_leaf"] == 0]
        width = model.n_features_in_
        _require(((features >= 0) & (features < width)).all(), "a tree of another width")


def _check_neighbour_tree(tree: Any) -> None:
    data, indices, nodes, bounds, _, n_levels, n_nodes = tree.__getstate__()[:7]
    size = len(data)
    _require(0 < n_levels < 63 and n_nodes == 2**n_levels - 1, "a neighbour tree of wrong size")
    _require(len(nodes) == n_nodes == bounds.shape[1], "a neighbour tree of wrong size")
    _require(bounds.shape[2] == data.shape[1], "a neighbour tree of another width")
    _require(len(indices) == size, "a neighbour tree of wrong size")
    _require(((indices >= 0) & (indices < size)).all(), "a neighbour tree with a wrong index")
    for edge in ("idx_start", "idx_end"):
        _require(((nodes[edge] >= 0) & (nodes[edge] <= size)).all(), "a wrong neighbour tree")
    _require((nodes["is_leaf"][n_nodes // 2 :] == 1).all(), "a neighbour tree without leaves")


def _check_support_vectors(model: Any) -> None:
    vectors, weights = model.support_vectors_, model._dual_coef_
    _require(vectors.shape == (len(model.support_), model.shape_fit_[1]), "wrong support vectors")
    _require(weights.shape[1] == vectors.shape[0], "support vectors without their weights")
    if model._impl in ("c_svc", "nu_svc"):
        classes = len(model.classes_)
        _require(len(model._n_support) == classes == weights.shape[0] + 1, "wrong support vectors")
        _require((model._n_support >= 0).all(), "wrong support vectors")
        _require(model._n_support.sum() == vectors.shape[0], "wrong support vectors")
        _require(len(model._intercept_) == classes * (classes - 1) // 2, "wrong support vectors")
