"""The figures of a replay, against direct computations."""

from typing import Any

import numpy as np
import pytest

from predictions.evaluation.intervals import wilson_interval
from predictions.models import Outcome, Prediction
from predictions.testing.replays import (
    MakeVersion,
    iris_rows,
    recorded_labels,
    recorded_values,
    replayed,
    report_of,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.models import ModelVersion
from registry.testing.fixtures import Artifact


def test_figures_of_a_classifier_equal_a_direct_computation(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact, coarse_artifact: Artifact
) -> None:
    rows = iris_rows()
    recorded = recorded_labels(iris, iris_artifact, rows)

    report = report_of(replayed(iris, coarse))

    old, new = iris_artifact.model, coarse_artifact.model
    before, after = old.predict(rows), new.predict(rows)
    agreed = int((before == after).sum())
    assert 0 < agreed < len(rows)
    assert list(old.classes_) != list(new.classes_)
    assert (report["rows"], report["compared"], report["agreed"]) == (150, 150, agreed)
    assert report["agreement"] == agreed / 150
    assert tuple(report["agreement_interval"]) == wilson_interval(agreed, 150)
    old_class = old.predict_proba(rows).argmax(axis=1)
    column = [list(new.classes_).index(old.classes_[i]) for i in old_class]
    difference = new.predict_proba(rows)[range(150), column] - old.predict_proba(rows).max(axis=1)
    assert_differences(report, difference)
    for found in report["classes"]["agreement"]:
        mask = before == found["label"]
        assert (found["rows"], found["agreed"]) == (mask.sum(), (mask & (before == after)).sum())
    assert {
        (pair["recorded"], pair["new"]): pair["rows"] for pair in report["classes"]["pairs"]
    } == {
        (a, b): int(((before == a) & (after == b)).sum())
        for a, b in set(zip(before.tolist(), after.tolist(), strict=True))
        if a != b
    }
    furthest = np.argsort(-abs(difference), kind="stable")[:10]
    assert {pair["prediction_id"] for pair in report["worst"]} == {recorded[i].pk for i in furthest}
    assert report["worst"][0]["recorded"] == before[furthest[0]]
    assert report["worst"][0]["new"] == after[furthest[0]]


def assert_differences(report: dict[str, Any], difference: Any) -> None:
    sizes = abs(difference)
    assert report["difference"] == pytest.approx(
        {
            "rows": len(difference),
            "mean": difference.mean(),
            "mean_absolute": sizes.mean(),
            "p50": np.quantile(sizes, 0.5),
            "p90": np.quantile(sizes, 0.9),
            "p99": np.quantile(sizes, 0.99),
            "max": sizes.max(),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("n", [1, 2, 442])
def test_figures_of_a_regressor_equal_a_direct_computation(
    diabetes: ModelVersion, diabetes_artifact: Artifact, n: int
) -> None:
    from sklearn.datasets import load_diabetes

    rows = load_diabetes().data[:n]
    values = diabetes_artifact.model.predict(rows)
    recorded = values + np.where(np.arange(n) % 3 == 0, 1.0, 0.0) * np.arange(n)
    recorded_values(diabetes, rows, recorded)

    report = report_of(replayed(diabetes, diabetes, chunk_rows=100))

    assert report["agreed"] == np.isclose(values, recorded, rtol=1e-9, atol=0).sum()
    assert_differences(report, values - recorded)
    assert report["classes"] is None
    assert [abs(pair["difference"]) for pair in report["worst"]] == pytest.approx(
        sorted(abs(values - recorded), reverse=True)[:10], rel=1e-9
    )


def test_a_replay_of_no_rows_reports_none(iris: ModelVersion, coarse: ModelVersion) -> None:
    report = report_of(replayed(iris, coarse))

    assert (report["rows"], report["agreement"], report["difference"]) == (0, None, None)
    assert report["agreement_interval"] is None
    assert report["worst"] == report["unanswered"] == []


def test_a_tolerance_decides_what_agrees(
    diabetes: ModelVersion, diabetes_artifact: Artifact
) -> None:
    from sklearn.datasets import load_diabetes

    rows = load_diabetes().data[:10]
    recorded_values(diabetes, rows, diabetes_artifact.model.predict(rows) + np.arange(10))

    assert report_of(replayed(diabetes, diabetes, tolerance=4.5))["agreed"] == 5
    assert report_of(replayed(diabetes, diabetes))["agreed"] == 1


def test_both_qualities_are_reported_where_outcomes_exist(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact, coarse_artifact: Artifact
) -> None:
    rows = recorded_labels(iris, iris_artifact, iris_rows())
    assert report_of(replayed(iris, coarse))["quality"] is None
    truth = ["setosa"] * 50 + ["versicolor"] * 50 + ["virginica"] * 50
    known = [0, 3, 4, *range(6, 150, 3)]
    # A shadow's row is judged by the outcome of its primary, and a correction counts alone.
    Prediction.objects.filter(pk=rows[3].pk).update(
        alias="champion", arm="shadow", primary=rows[4].pk
    )
    Outcome.objects.bulk_create(
        Outcome(prediction_id=rows[i].pk, label=label)
        for i in known
        if i != 3
        for label in ("another", truth[i])
    )

    quality = report_of(replayed(iris, coarse))["quality"]

    asked = iris_rows()[known]
    right = np.array(truth)[known]
    for name, artifact in (("recorded", iris_artifact), ("new", coarse_artifact)):
        expected = (artifact.model.predict(asked) == right).mean()
        assert quality[name]["figures"]["accuracy"] == pytest.approx(expected, abs=1e-12)
        assert quality[name]["scored"] == quality[name]["with_outcome"] == len(known)
    assert quality["recorded"]["figures"]["accuracy"] > quality["new"]["figures"]["accuracy"]


def test_qualities_of_values_are_reported_too(
    diabetes: ModelVersion, diabetes_artifact: Artifact, make_version: MakeVersion
) -> None:
    from sklearn.datasets import load_diabetes

    rows, truth = load_diabetes(return_X_y=True)
    old = make_version("old", framework="R")
    recorded = recorded_values(old, rows[:20], [0.0] * 20)
    Outcome.objects.bulk_create(
        Outcome(prediction=row, value=float(value))
        for row, value in zip(recorded, truth, strict=False)
    )

    quality = report_of(replayed(old, diabetes))["quality"]

    error = diabetes_artifact.model.predict(rows[:20]) - truth[:20]
    # Without a signature nothing tells what the old version's numbers mean.
    assert quality["recorded"] is None
    assert quality["new"]["figures"]["mae"] == pytest.approx(abs(error).mean(), rel=1e-9)
