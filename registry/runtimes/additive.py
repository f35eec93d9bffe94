"""Which models of scikit-learn are sums of functions of one feature each: linear ones, behind
transformers that take each feature alone. No Django here.
"""

from typing import Any, Protocol, cast

import numpy as np
from sklearn import discriminant_analysis, linear_model, preprocessing, svm
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

from registry.runtimes.contributions import Link

# Each output of these depends on one column of the input.
_ALONE = (
    preprocessing.Binarizer,
    preprocessing.KBinsDiscretizer,
    preprocessing.MaxAbsScaler,
    preprocessing.MinMaxScaler,
    preprocessing.OneHotEncoder,
    preprocessing.OrdinalEncoder,
    preprocessing.PowerTransformer,
    preprocessing.QuantileTransformer,
    preprocessing.RobustScaler,
    preprocessing.SplineTransformer,
    preprocessing.StandardScaler,
    SimpleImputer,
)
_REGRESSORS = frozenset(
    {
        *("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor"),
        *("Lars", "LarsCV", "Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"),
        *("LinearRegression", "MultiTaskElasticNet", "MultiTaskElasticNetCV", "MultiTaskLasso"),
        *("MultiTaskLassoCV", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV"),
        *("QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor", "TheilSenRegressor"),
    }
)
_LOG_REGRESSORS = frozenset({"GammaRegressor", "PoissonRegressor"})
_LABEL_CLASSIFIERS = (
    linear_model.Perceptron,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    svm.LinearSVC,
)


class _Linear(Protocol):
    def predict(self, rows: object, /) -> np.ndarray: ...

    def decision_function(self, rows: object, /) -> np.ndarray: ...


def additive_link(model: object) -> Link | None:
    """The link of an additive model; None for any other."""
    if isinstance(model, Pipeline):
        *steps, final = [step for _, step in model.steps if step not in (None, "passthrough")]
        return _linear_link(final) if all(map(_takes_features_alone, steps)) else None
    return _linear_link(model)


def margins_of(estimator: object, link: Link, rows: object) -> np.ndarray:
    """The margins (n, k) of prepared rows, by the final estimator of an additive model."""
    linear = cast(_Linear, estimator)
    if hasattr(estimator, "decision_function"):
        margins = linear.decision_function(rows)
    else:
        values = linear.predict(rows)
        margins = np.log(values) if link == "log" else values
    return np.asarray(margins, np.float64).reshape(len(margins), -1)


def _takes_features_alone(step: Any) -> bool:
    if isinstance(step, str):
        return step in ("passthrough", "drop")
    # A bin may be drawn at random, but only while fitting.
    if type(step) in _ALONE:
        return True
    if type(step) is preprocessing.FunctionTransformer:
        return step.func is None
    if isinstance(step, ColumnTransformer):
        return all(_takes_features_alone(part) for _, part, _ in step.transformers_)
    if isinstance(step, FeatureUnion):
        return all(_takes_features_alone(part) for _, part in step.transformer_list)
    if isinstance(step, Pipeline):
        return all(_takes_features_alone(part) for _, part in step.steps)
    return False


def _linear_link(estimator: Any) -> Link | None:
    name = type(estimator).__name__
    module = type(estimator).__module__
    if module.startswith("sklearn.linear_model") and name in _REGRESSORS:
        return "identity"
    if module.startswith("sklearn.linear_model") and name in _LOG_REGRESSORS:
        return "log"
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray):
        return None
    is_binary = len(classes) == 2
    if isinstance(estimator, _LABEL_CLASSIFIERS):
        return "identity"
    if type(estimator) in (linear_model.LogisticRegression, linear_model.LogisticRegressionCV):
        return "logit" if is_binary else "softmax"
    if type(estimator) is discriminant_analysis.LinearDiscriminantAnalysis:
        return "logit" if is_binary else "softmax"
    if type(estimator) is linear_model.SGDClassifier:
        if estimator.loss == "log_loss":
            return "logit" if is_binary else None
        return "identity" if not hasattr(estimator, "predict_proba") else None
    return None
