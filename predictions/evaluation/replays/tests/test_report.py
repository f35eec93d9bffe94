"""The figures of a replay, compared with direct computations."""

from typing import Any

import numpy as np
import pytest

from predictions.evaluation.intervals import wilson_interval
from predictions.models import Outcome, Prediction
from predictions.testing.replays import (
    MakeVersion,
    completed_report,
    iris_rows,
    record_labels,
    record_values,
    run_replay,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact


def test_classifier_figures_equal_a_direct_computation(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact, coarse_artifact: Artifact
) -> None:
    rows = iris_rows()
    recorded = record_labels(iris, iris_artifact, rows)

    report = completed_report(run_replay(iris, coarse))

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
    for entry in report["classes"]["agreement"]:
        mask = before == entry["label"]
        assert (entry["rows"], entry["agreed"]) == (mask.sum(), (mask & (before == after)).sum())
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


def assert_differences(report: JSONObject, difference: Any) -> None:
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
def test_regressor_figures_equal_a_direct_computation(
    diabetes: ModelVersion, diabetes_artifact: Artifact, n: int
) -> None:
    from sklearn.datasets import load_diabetes

    rows = load_diabetes().data[:n]
    values = diabetes_artifact.model.predict(rows)
    recorded = values + np.where(np.arange(n) % 3 == 0, 1.0, 0.0) * np.arange(n)
    record_values(diabetes, rows, recorded)

    report = completed_report(run_replay(diabetes, diabetes, chunk_rows=100))

    assert report["agreed"] == np.isclose(values, recorded, rtol=1e-9, atol=0).sum()
    assert_differences(report, values - recorded)
    assert report["classes"] is None
    assert [abs(pair["difference"]) for pair in report["worst"]] == pytest.approx(
        sorted(abs(values - recorded), reverse=True)[:10], rel=1e-9
    )


def test_a_replay_without_rows_has_no_figures(iris: ModelVersion, coarse: ModelVersion) -> None:
    report = completed_report(run_replay(iris, coarse))

    assert (report["rows"], report["agreement"], report["difference"]) == (0, None, None)
    assert report["agreement_interval"] is None
    assert report["worst"] == report["unanswered"] == []


def test_the_tolerance_decides_what_agrees(
    diabetes: ModelVersion, diabetes_artifact: Artifact
) -> None:
    from sklearn.datasets import load_diabetes

    rows = load_diabetes().data[:10]
    record_values(diabetes, rows, diabetes_artifact.model.predict(rows) + np.arange(10))

    assert completed_report(run_replay(diabetes, diabetes, tolerance=4.5))["agreed"] == 5
    assert completed_report(run_replay(diabetes, diabetes))["agreed"] == 1


def test_the_quality_of_both_versions_is_reported_if_outcomes_exist(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact, coarse_artifact: Artifact
) -> None:
    rows = record_labels(iris, iris_artifact, iris_rows())
    assert completed_report(run_replay(iris, coarse))["quality"] is None
    truth = ["setosa"] * 50 + ["versicolor"] * 50 + ["virginica"] * 50
    labelled = [0, 3, 4, *range(6, 150, 3)]
    # A shadow's row is judged by the outcome of its primary, and only the correction counts.
    Prediction.objects.filter(pk=rows[3].pk).update(
        alias="champion", arm="shadow", primary=rows[4].pk
    )
    Outcome.objects.bulk_create(
        Outcome(prediction_id=rows[i].pk, label=label)
        for i in labelled
        if i != 3
        for label in ("another", truth[i])
    )

    quality = completed_report(run_replay(iris, coarse))["quality"]

    inputs = iris_rows()[labelled]
    actual = np.array(truth)[labelled]
    for name, artifact in (("recorded", iris_artifact), ("new", coarse_artifact)):
        expected = (artifact.model.predict(inputs) == actual).mean()
        assert quality[name]["figures"]["accuracy"] == pytest.approx(expected, abs=1e-12)
        assert quality[name]["scored"] == quality[name]["with_outcome"] == len(labelled)
    assert quality["recorded"]["figures"]["accuracy"] > quality["new"]["figures"]["accuracy"]


def test_the_quality_of_regressors_is_reported(
    diabetes: ModelVersion, diabetes_artifact: Artifact, make_version: MakeVersion
) -> None:
    from sklearn.datasets import load_diabetes

    rows, truth = load_diabetes(return_X_y=True)
    old = make_version("old", framework="R")
    recorded = record_values(old, rows[:20], [0.0] * 20)
    Outcome.objects.bulk_create(
        Outcome(prediction=row, value=float(value))
        for row, value in zip(recorded, truth, strict=False)
    )

    quality = completed_report(run_replay(old, diabetes))["quality"]

    error = diabetes_artifact.model.predict(rows[:20]) - truth[:20]
    # Without a signature, the meaning of the old version's numbers is unknown.
    assert quality["recorded"] is None
    assert quality["new"]["figures"]["mae"] == pytest.approx(abs(error).mean(), rel=1e-9)
