"""Figures of labelled predictions, compared with scikit-learn's of the same rows."""

from typing import Any

import numpy as np
import pytest
from django.db import connection
from numpy.typing import NDArray
from sklearn import metrics

from predictions.evaluation.quality.labelled_predictions import (
    STREAMED_ROWS,
    labelled_predictions,
    tally,
)
from predictions.evaluation.quality.scores import ClassifierTally, RegressorTally
from predictions.evaluation.quality.tasks import task_of
from predictions.models import Outcome, Prediction
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_classifications,
    create_predictions,
    make_version,
)
from registry.models import ModelVersion

# More than two chunks of those that the figures read at a time, and a part of a third.
ROWS = 5_000
assert STREAMED_ROWS * 2 < ROWS < STREAMED_ROWS * 3


def close(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def tally_of(version: ModelVersion, **conditions: Any) -> Any:
    # Autovacuum sees no row of an open transaction, and without statistics a join may take minutes.
    with connection.cursor() as cursor:
        for table in ("predictions", "outcomes"):
            cursor.execute(f"ANALYZE {table}")
    total, _ = tally(task_of(version), labelled_predictions({"model": version, **conditions}))
    return total


def create_labelled(
    classes: list[Any], *, rows: int = ROWS, seed: int = 0
) -> tuple[ModelVersion, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """A version with labelled predictions; its probabilities, predicted and true class indices."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(len(classes), 0.3), rows)
    # Probabilities of 0 and 1, whose logarithm must be clipped.
    probabilities[:50] = 0.0
    probabilities[:50, 0] = 1.0
    actual = np.where(
        random.random(rows) < 0.6,
        probabilities.argmax(axis=1),
        random.integers(0, len(classes), rows),
    )
    version = make_version(classifier_signature(classes))
    add_labels(
        create_classifications(version, classes, probabilities), [classes[i] for i in actual]
    )
    return version, probabilities, probabilities.argmax(axis=1), actual


def assert_equals_sklearn(
    total: ClassifierTally,
    probabilities: NDArray[Any],
    predicted: NDArray[Any],
    actual: NDArray[Any],
) -> None:
    indices = np.arange(probabilities.shape[1])
    figures = total.figures()
    assert figures["accuracy"] == close(metrics.accuracy_score(actual, predicted))
    assert figures["f1_macro"] == close(metrics.f1_score(actual, predicted, average="macro"))
    assert figures["log_loss"] == close(metrics.log_loss(actual, probabilities, labels=indices))
    assert figures["brier_score"] == close(
        metrics.brier_score_loss(actual, probabilities, labels=indices)
    )
    columns = metrics.precision_recall_fscore_support(
        actual, predicted, labels=indices, zero_division=np.nan
    )
    for row, (precision, recall, f1, support) in zip(
        total.by_class(), np.transpose(columns).tolist(), strict=True
    ):
        for name, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            assert row[name] == (None if np.isnan(value) else close(value)), (name, row)
        assert row["support"] == support


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        pytest.param(["setosa", "Köln", 'a "b"'], ROWS, marks=pytest.mark.slow),
        pytest.param([0, 1], ROWS, marks=pytest.mark.slow),
        ([False, True], 500),
        ([0.5, 1.5, 2.5, 3.5], 500),
    ],
)
def test_classifier_figures_equal_scikit_learns(classes: list[Any], rows: int) -> None:
    version, probabilities, predicted, actual = create_labelled(classes, rows=rows)

    total = tally_of(version)

    assert total.scored == total.with_outcome == rows
    assert_equals_sklearn(total, probabilities, predicted, actual)


@pytest.mark.django_db
def test_classes_that_never_occur_are_left_out_as_in_scikit_learn() -> None:
    classes = ["a", "b", "never predicted", "never true", "neither"]
    random = np.random.default_rng(1)
    probabilities = np.zeros((500, 5))
    probabilities[:, [0, 1, 3]] = random.dirichlet(np.ones(3), 500)
    actual = random.choice([0, 1, 2], 500)
    version = make_version(classifier_signature(classes))
    add_labels(
        create_classifications(version, classes, probabilities), [classes[i] for i in actual]
    )

    total = tally_of(version)

    assert_equals_sklearn(total, probabilities, probabilities.argmax(axis=1), actual)
    [*_, neither] = total.by_class()
    assert neither == {
        "label": "neither",
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
        "predicted": 0,
    }


@pytest.mark.django_db
def test_a_single_class_that_occurs_is_scored() -> None:
    version, probabilities, predicted, actual = create_labelled(["a", "b"], rows=60)
    Outcome.objects.all().delete()
    add_labels(list(Prediction.objects.order_by("id")), ["b"] * 60)

    assert_equals_sklearn(tally_of(version), probabilities, predicted, np.ones_like(actual))


@pytest.mark.django_db
def test_the_calibration_table_equals_a_direct_computation() -> None:
    version, probabilities, predicted, actual = create_labelled(["a", "b", "c"], rows=3000)
    confidence, hits = probabilities.max(axis=1), predicted == actual

    total = tally_of(version)

    bins = np.minimum(np.floor(confidence * 10), 9).astype(int)
    errors = 0.0
    for index, row in enumerate(total.calibration()):
        inside = bins == index
        assert row["rows"] == inside.sum()
        if inside.any():
            assert row["mean_confidence"] == close(confidence[inside].mean())
            assert row["accuracy"] == close(hits[inside].mean())
            errors += abs(hits[inside].mean() - confidence[inside].mean()) * inside.mean()
    assert total.figures()["expected_calibration_error"] == close(errors)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("mean", "spread", "rows"),
    [
        (0.0, 1.0, 2000),
        pytest.param(1e6, 1.0, ROWS, marks=pytest.mark.slow),
        (1e9, 0.01, 2000),
        (-3e12, 5.0, 2000),
        (1e-12, 1e-12, 2000),
    ],
)
def test_regressor_figures_equal_scikit_learns(mean: float, spread: float, rows: int) -> None:
    random = np.random.default_rng(2)
    actual = mean + spread * random.standard_normal(rows)
    predicted = actual + spread * (0.3 * random.standard_normal(rows) + 0.1)
    version = make_version(REGRESSOR_SIGNATURE)
    add_values(create_predictions(version, predicted.tolist()), actual.tolist())

    total = tally_of(version)

    figures = total.figures()
    assert total.scored == rows
    expected = {
        "mae": metrics.mean_absolute_error(actual, predicted),
        "rmse": metrics.root_mean_squared_error(actual, predicted),
        "r2": metrics.r2_score(actual, predicted),
        "bias": float(np.mean(predicted - actual)),
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.django_db
@pytest.mark.parametrize("values", [[0.1] * 7, [3.0]])
def test_r2_of_equal_outcomes_is_none(values: list[float]) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    add_values(create_predictions(version, [value + 1 for value in values]), values)

    figures = tally_of(version).figures()

    assert figures["r2"] is None
    assert figures["rmse"] == close(1.0)


@pytest.mark.django_db
@pytest.mark.parametrize("signature", [REGRESSOR_SIGNATURE, classifier_signature(["a", "b"])])
def test_without_rows_all_figures_are_none(signature: dict[str, Any]) -> None:
    total = tally_of(make_version(signature))

    assert total.scored == 0
    assert set(total.figures().values()) == {None}


@pytest.mark.django_db
def test_failed_and_huge_rows_are_counted_but_not_scored() -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    good, huge = create_predictions(version, [1.0, 1e300])
    [failed] = create_predictions(version, [0.0])
    Prediction.objects.filter(pk=failed.pk).update(prediction=None, status="failed", error="no")
    add_values([good, huge, failed], [2.0, 2.0, 2.0])

    total = tally_of(version)

    assert isinstance(total, RegressorTally)
    assert (total.with_outcome, total.scored, total.figures()["mae"]) == (3, 1, 1.0)


@pytest.mark.django_db
def test_imported_rows_without_probabilities_are_scored_by_class() -> None:
    version = make_version(classifier_signature(["a", "b"]))
    rows = create_predictions(version, [0.0, 1.0, 0.5, 7.0])
    add_labels(rows, ["a", "a", "a", "a"])

    total = tally_of(version)

    assert (total.with_outcome, total.scored) == (4, 2)
    assert total.figures()["accuracy"] == 0.5
    assert total.figures()["log_loss"] is None


@pytest.mark.django_db
def test_the_outcome_recorded_last_counts() -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    rows = create_predictions(version, [1.0])
    for value in (5.0, 3.0, 2.0):
        add_values(rows, [value])

    total = tally_of(version)

    assert (total.with_outcome, total.figures()["bias"]) == (1, -1.0)


@pytest.mark.django_db
def test_a_shadow_is_judged_by_the_outcome_of_its_primary() -> None:
    version, shadow = make_version(REGRESSOR_SIGNATURE), make_version(REGRESSOR_SIGNATURE, "s")
    rows = create_predictions(version, [1.0, 2.0], alias="champion", arm="primary")
    for row, value in zip(rows, [1.5, 2.5], strict=True):
        create_predictions(shadow, [value], alias="champion", arm="shadow", primary=row)
    add_values(rows, [2.0, 3.0])

    assert tally_of(version).figures()["mae"] == 1.0
    assert tally_of(shadow).figures()["mae"] == 0.5
    assert tally_of(shadow, arm="primary").scored == 0


@pytest.mark.django_db
def test_buckets_add_up_to_the_total() -> None:
    version, *_ = create_labelled(["a", "b", "c"], rows=5000)

    total, by_start = tally(task_of(version), labelled_predictions({"model": version}), "day")
    days: list[Any] = list(by_start.values())

    assert len(days) == 4
    assert sum(day.scored for day in days) == total.scored == 5000
    log_loss: Any = total.figures()["log_loss"]
    assert sum(day.figures()["log_loss"] * day.scored for day in days) / 5000 == close(log_loss)
