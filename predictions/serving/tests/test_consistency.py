"""For random pipelines and rows: alone, in a batch, at once with others and in a replay, a row gets
the same answer, which is the pipeline's own.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import skops.io
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

from predictions.serving import inference, services
from predictions.serving.questions import Question
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.models import ModelVersion
from registry.services import Upload, register_model

N_FEATURES = 4
N_THREADS = 8
# These compute with sums whose order depends on the number of rows; the others are exact.
INEXACT = (Ridge, MLPRegressor, SVR, PCA, KNeighborsRegressor, KNNImputer)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("model_path", "in_process_sandbox"),
]

imputers = st.sampled_from([SimpleImputer, lambda: SimpleImputer(strategy="median"), KNNImputer])
scalers = st.sampled_from(
    [
        StandardScaler,
        MinMaxScaler,
        lambda: QuantileTransformer(n_quantiles=20),
        lambda: PolynomialFeatures(2),
        lambda: PCA(3),
        lambda: make_column_transformer((StandardScaler(), [0, 2]), remainder="passthrough"),
    ]
)
estimators = st.sampled_from(
    [
        Ridge,
        SVR,
        KNeighborsRegressor,
        lambda: DecisionTreeRegressor(random_state=0),
        lambda: RandomForestRegressor(5, random_state=0),
        lambda: HistGradientBoostingRegressor(max_iter=5),
        lambda: MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0),
    ]
)
numbers = st.one_of(st.none(), st.floats(-100, 100, width=32))
rows_of_numbers = st.lists(
    st.lists(numbers, min_size=N_FEATURES, max_size=N_FEATURES), min_size=2, max_size=40
)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(N_THREADS) as pool:
        yield pool


def fitted(steps: Sequence[Any]) -> Pipeline:
    random = np.random.default_rng(0)
    rows = random.normal(size=(80, N_FEATURES)) * 10
    target = rows.sum(axis=1)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return make_pipeline(*steps).fit(rows, target)


def register(pipeline: Pipeline, folder: Path) -> ModelVersion:
    path = folder / f"{uuid4()}.skops"
    skops.io.dump(pipeline, path)
    return register_model(name="m", upload=Upload([path.read_bytes()]))


def value_of(answer: Any) -> float:
    assert not answer.error
    return float(answer.prediction)


def predict_alone(version: ModelVersion, row: JSONObject) -> float:
    try:
        return value_of(services.predict(Question(model_id=version.pk), row))
    finally:
        connections.close_all()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(imputer=imputers, scaler=scalers, estimator=estimators, values=rows_of_numbers)
def test_a_row_gets_the_same_answer_on_every_path(
    threads: ThreadPoolExecutor,
    tmp_path: Path,
    imputer: Any,
    scaler: Any,
    estimator: Any,
    values: list[list[float | None]],
) -> None:
    steps = [imputer(), scaler(), estimator()]
    pipeline = fitted(steps)
    version = register(pipeline, tmp_path)
    rows: list[JSONObject] = [{"features": row} for row in values]

    alone = [predict_alone(version, row) for row in rows]
    batch = [value_of(r) for r in services.predict_batch(Question(model_id=version.pk), rows)]
    at_once = list(threads.map(lambda row: predict_alone(version, row), rows))
    model = loader.get(version.pk)
    replayed = [value_of(a) for a in inference.answer_rows(model, rows, max_call_rows=7)]

    own = pipeline.predict(np.array(values, float))
    scale = np.maximum(1, np.abs(own))
    tolerance = 1e-6 if any(isinstance(step, INEXACT) for step in steps) else 0
    for answers in (alone, batch, at_once, replayed):
        assert (np.abs(np.array(answers) - own) <= tolerance * scale).all()
