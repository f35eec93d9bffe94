"""Small CatBoost models, and the runtime that loads them."""

from pathlib import Path

import catboost

from registry.runtimes import catboost as catboost_runtime
from registry.runtimes.base import LoadOptions
from registry.testing.trained_models import CATBOOST_OPTIONS


def load(path: Path) -> catboost_runtime.CatBoostRuntime:
    return catboost_runtime.load(path, LoadOptions())


def reload(model: catboost.CatBoost, folder: Path) -> catboost_runtime.CatBoostRuntime:
    """The runtime of the model, saved into the folder."""
    model.save_model(folder / "m.cbm")
    return load(folder / "m.cbm")


def classifier(**options: object) -> catboost.CatBoostClassifier:
    return catboost.CatBoostClassifier(**CATBOOST_OPTIONS | options)


def regressor(**options: object) -> catboost.CatBoostRegressor:
    return catboost.CatBoostRegressor(**CATBOOST_OPTIONS | options)
