"""CatBoost's own export to ONNX, proved equal or refused."""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest
from sklearn.datasets import make_classification

from registry.conversion.tests.matrix import Matrix, as_json

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

N = 700
ROWS, CLASSES = make_classification(1200, 6, n_informative=4, n_classes=3, random_state=0)
GAPS = np.where(np.random.default_rng(0).random(ROWS.shape) < 0.1, np.nan, ROWS)
OPTIONS: dict[str, Any] = {
    "iterations": 8,
    "verbose": False,
    "allow_writing_files": False,
    "thread_count": 1,
}


def test_every_kind_of_catboost_model(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)
    names = np.array(["low", "mid", "top"])[CLASSES[:N]]
    values = np.abs(ROWS[:N, 0])

    for name, model, target in (
        ("two classes", catboost.CatBoostClassifier(**OPTIONS), (CLASSES[:N] > 0).astype(int)),
        ("classes", catboost.CatBoostClassifier(**OPTIONS), names),
        ("booleans", catboost.CatBoostClassifier(**OPTIONS), CLASSES[:N] > 0),
        (
            "one against all",
            catboost.CatBoostClassifier(loss_function="MultiClassOneVsAll", **OPTIONS),
            names,
        ),
        ("RMSE", catboost.CatBoostRegressor(**OPTIONS), values),
        ("Poisson", catboost.CatBoostRegressor(loss_function="Poisson", **OPTIONS), values),
        (
            "MultiRMSE",
            catboost.CatBoostRegressor(loss_function="MultiRMSE", **OPTIONS),
            np.stack([values, -values], axis=1),
        ),
    ):
        matrix.add(name, model.fit(GAPS[:N], target), as_json(GAPS[N:]))
    ranker = catboost.CatBoostRanker(**OPTIONS)
    ranker.fit(GAPS[:N], CLASSES[:N], group_id=np.arange(N) // 70)
    matrix.add("ranker", ranker, as_json(GAPS[N:]))
    with_categories = catboost.CatBoostClassifier(cat_features=[0], **OPTIONS)
    table = [[str(label), row[0]] for label, row in zip(CLASSES, ROWS, strict=True)]
    with_categories.fit(table[:N], (CLASSES[:N] > 0).astype(int))
    rows = [{"features": row} for row in table]
    matrix.add("categories", with_categories, rows[N:], example=rows)

    assert matrix.converted == ["two classes", "classes", "RMSE", "ranker"]
    assert "scores differently" in matrix.refused["Poisson"]
    assert "CatBoost cannot export this model" in matrix.refused["categories"]
