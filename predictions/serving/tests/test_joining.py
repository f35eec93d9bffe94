"""Two hundred concurrent predictions of each kind of model are the model's own answers, and equal
to those of a batch and of a replay.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from django.conf import LazySettings
from django.db import connections

from predictions.serving import inference, services
from predictions.serving.questions import Question
from registry.exact_json.values import JSONObject
from registry.loading import loader
from registry.models import ModelVersion
from registry.services import Upload, register_model
from registry.testing import onnx_graphs, trained_models

N_CALLS = 200
# Each thread keeps a connection, and the tests' pool has more of them than this.
N_THREADS = 16

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("model_path", "in_process_sandbox"),
]


class Kind(NamedTuple):
    """A model, the numbers of its rows (n, ...), and the library's own answer to one row."""

    path: Path
    rows: np.ndarray
    answer: Callable[[np.ndarray], object]
    batching: str


def classifier(trained: trained_models.Trained) -> Kind:
    random = np.random.default_rng(0)
    rows = np.asarray(trained.rows, np.float64)
    rows = random.uniform(rows.min(axis=0), rows.max(axis=0), (N_CALLS, rows.shape[1]))
    return Kind(
        trained.path,
        rows.astype(np.float32).astype(np.float64),
        lambda row: trained.estimator.predict_proba(row[np.newaxis])[0].tolist(),
        "joined",
    )


def graph(path: Path, name: str, row_shape: tuple[int, ...], batching: str) -> Kind:
    rows = np.random.default_rng(0).normal(size=(N_CALLS, *row_shape)).astype(np.float32)

    def answer(row: np.ndarray) -> object:
        tensor = row if batching == "unbatched" else row[np.newaxis]
        outputs = onnx_graphs.own_answer(path, **{name: tensor})
        values = [
            value.tolist() if batching == "unbatched" else value[0].tolist()
            for value in outputs.values()
        ]
        return values[0] if len(values) == 1 else values

    return Kind(path, rows, answer, batching)


KINDS: dict[str, Callable[[Path], Kind]] = {
    "scikit-learn": lambda path: classifier(trained_models.iris_skops(path)),
    "XGBoost": lambda path: classifier(trained_models.iris_xgboost(path.with_suffix(".ubj"))),
    "LightGBM": lambda path: classifier(trained_models.iris_lightgbm(path.with_suffix(".txt"))),
    "CatBoost": lambda path: classifier(trained_models.iris_catboost(path.with_suffix(".cbm"))),
    "ONNX": lambda path: classifier(trained_models.iris_onnx(path)),
    "ONNX, batches of 4": lambda path: classifier(trained_models.iris_onnx(path, batch=4)),
    "quantized": lambda path: graph(onnx_graphs.quantized_graph(path), "x", (8,), "single"),
    "recurrent": lambda path: graph(onnx_graphs.recurrent_graph(path), "x", (4, 1, 2), "unbatched"),
    "detector": lambda path: graph(
        onnx_graphs.detector_graph(path), "image", (1, 3, 4), "unbatched"
    ),
    "scalar": lambda path: graph(onnx_graphs.sum_graph(path), "x", (5, 2), "unbatched"),
}


@pytest.fixture(autouse=True)
def room_for_all(settings: LazySettings) -> None:
    # As `serve` sets it for its threads: on a busy machine, a call may count as slow.
    settings.MAX_CONCURRENT_PER_MODEL = 2 * N_THREADS


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(N_THREADS, initializer=connections.close_all) as pool:
        yield pool


def values_of(output: object, prediction: float | None) -> object:
    """An answer as plain numbers, in the order of the outputs."""
    if not isinstance(output, dict):
        return prediction
    if "probabilities" in output:
        return list(output["probabilities"].values())
    values = list(output.values())
    return values[0] if len(values) == 1 else values


def assert_equal(answered: object, expected: object) -> None:
    if isinstance(expected, list) and expected and isinstance(expected[0], list):
        assert isinstance(answered, list)
        assert len(answered) == len(expected)
        for one, other in zip(answered, expected, strict=True):
            assert_equal(one, other)
        return
    actual, wanted = np.array(answered, float), np.array(expected, float)
    np.testing.assert_allclose(actual.reshape(-1), wanted.reshape(-1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_concurrent_answers_are_those_of_the_library(
    name: str, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    kind = KINDS[name](tmp_path / "model.onnx")
    version = register_model(name="m", upload=Upload([kind.path.read_bytes()]))
    assert version.signature["batching"] == kind.batching
    inputs = [as_input(version, row) for row in kind.rows]

    def predict(row: JSONObject) -> object:
        try:
            record = services.predict(Question(model_id=version.pk), row)
            return values_of(record.output, record.prediction)
        finally:
            connections.close_all()

    answered = list(threads.map(predict, inputs))

    expected = [kind.answer(row) for row in kind.rows]
    for one, other in zip(answered, expected, strict=True):
        assert_equal(one, other)
    # A replay scores the same rows in large calls.
    again = inference.answer_rows(loader.get(version.pk), inputs, max_call_rows=64)
    for answer, other in zip(again, expected, strict=True):
        assert answer.error is None
        assert_equal(values_of(answer.output, answer.prediction), other)


def as_input(version: ModelVersion, row: np.ndarray) -> JSONObject:
    name = version.signature["inputs"][0]["name"]
    return {name: row.tolist()} if row.ndim > 1 else {"features": row.tolist()}
