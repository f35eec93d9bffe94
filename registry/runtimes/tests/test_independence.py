"""How a model's answers for rows depend on the rows beside them."""

import numpy as np
import pytest

from registry.runtimes.base import InferenceError, Outputs
from registry.runtimes.independence import Arrays, Dependence, Predict, find_dependence

ROWS = {"x": np.random.default_rng(0).normal(size=(8, 3))}


def sums(rows: Arrays) -> Outputs:
    return {"y": rows["x"].sum(axis=1)}


def sums_with_jitter(rows: Arrays) -> Outputs:
    noise = np.random.default_rng().normal(scale=1e-10, size=len(rows["x"]))
    return {"y": rows["x"].sum(axis=1) + noise}


def samples(rows: Arrays) -> Outputs:
    return {"y": rows["x"].sum(axis=1) + np.random.default_rng().normal(size=len(rows["x"]))}


def scaled_by_the_batch(rows: Arrays) -> Outputs:
    return {"y": rows["x"].sum(axis=1) / np.abs(rows["x"]).max()}


def softmax_over_rows(rows: Arrays) -> Outputs:
    weights = np.exp(rows["x"][:, 0])
    return {"y": weights / weights.sum()}


def one_row_only(rows: Arrays) -> Outputs:
    if len(rows["x"]) > 1:
        raise InferenceError("one row a call")
    return sums(rows)


def cut(rows: Arrays) -> Outputs:
    return {"y": rows["x"].sum(axis=1)[:1]}


@pytest.mark.parametrize(
    ("predict", "dependence"),
    [
        (sums, Dependence.NONE),
        (sums_with_jitter, Dependence.NONE),
        (samples, Dependence.ON_CHANCE),
        (scaled_by_the_batch, Dependence.ON_OTHER_ROWS),
        (one_row_only, Dependence.ON_OTHER_ROWS),
        (cut, Dependence.ON_OTHER_ROWS),
        (softmax_over_rows, Dependence.ENTIRELY_ON_OTHER_ROWS),
    ],
)
def test_the_dependence_of_a_model_is_found(predict: Predict, dependence: Dependence) -> None:
    assert find_dependence(predict, ROWS) is dependence


def test_a_model_that_fails_on_a_row_alone_is_an_inference_error() -> None:
    def fail(rows: Arrays) -> Outputs:
        raise InferenceError("no")

    with pytest.raises(InferenceError, match="no"):
        find_dependence(fail, ROWS)
