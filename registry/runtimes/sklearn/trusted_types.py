"""The types that may be built from a `.skops` file. No Django here."""

from sklearn.metrics import get_scorer, get_scorer_names

from registry.runtimes.sklearn.boosters import BOOSTER_TYPES

# A fitted search contains its scorer.
_SCORER_FUNCTIONS = frozenset(
    f"{function.__module__}.{function.__name__}"
    for function in (get_scorer(name)._score_func for name in get_scorer_names())
)
# skops itself trusts scikit-learn's estimators, numpy's ufuncs and plain containers. Fitted
# estimators also contain these types, found by dumping every estimator of scikit-learn. The
# functions are pure computations on arrays: none reads a file, calls a callable from its arguments
# or imports anything.
TRUSTED_TYPES = frozenset(
    (
        "functools.partial",
        "numpy.dtype",
        "numpy.mean",
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
        *BOOSTER_TYPES,
        "sklearn.impute._iterative.IterativeImputer",
        "sklearn.impute._iterative._ImputerTriplet",
        *_SCORER_FUNCTIONS,
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",
        "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
        *(
            # A fitted search contains its splitter, which predictions do not use.
            f"sklearn.model_selection._split.{splitter}"
            for splitter in (
                "GroupKFold",
                "GroupShuffleSplit",
                "KFold",
                "LeaveOneGroupOut",
                "LeaveOneOut",
                "LeavePGroupsOut",
                "LeavePOut",
                "PredefinedSplit",
                "RepeatedKFold",
                "RepeatedStratifiedKFold",
                "ShuffleSplit",
                "StratifiedGroupKFold",
                "StratifiedKFold",
                "StratifiedShuffleSplit",
                "TimeSeriesSplit",
            )
        ),
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


# -- distributions

_DISTRIBUTIONS = frozenset(("scipy.stats._distn_infrastructure", "scipy.stats._continuous_distns"))
_NOTHING = {
    "__class__": "str",
    "__module__": "builtins",
    "__loader__": "JsonNode",
    "content": "null",
    "is_json": True,
}


def has_distributions(schema: bytes) -> bool:
    """Whether the schema of a file contains distributions, as those of a randomized search."""
    return any(module.encode() in schema for module in _DISTRIBUTIONS)


def without_distributions(node: object) -> object:
    """The schema of a file with null in place of each distribution of scipy.

    A search does not use its distributions for predictions. They cannot be trusted: to load one,
    scipy executes a text of the file as code.
    """
    if isinstance(node, list):
        return [without_distributions(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("__module__") in _DISTRIBUTIONS:
        return _NOTHING
    return {key: without_distributions(value) for key, value in node.items()}
