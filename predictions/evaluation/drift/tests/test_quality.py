"""Calibration, and the estimates of quality that rest on it."""

from dataclasses import replace

import numpy as np
import pytest

from predictions.evaluation.drift.calibration import Calibrator, Isotonic
from predictions.evaluation.drift.comparisons import Kind
from predictions.evaluation.drift.counts import count
from predictions.evaluation.drift.findings import Finding, compare
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.quality import ExpectedQuality
from predictions.evaluation.drift.tables import FloatArray, IntArray, Numbers, Table

CLASSES = ("no", "yes")


def scored(rng: np.random.Generator, rows: int, certainty: float = 3.0) -> tuple[Table, FloatArray]:
    """Rows of an overconfident model of two classes, and their labels."""
    truth = 1 / (1 + np.exp(-rng.normal(0, certainty, rows)))
    claimed = truth**2 / (truth**2 + (1 - truth) ** 2)
    labels = (rng.random(rows) < truth).astype(np.float64)
    probabilities = np.column_stack((1 - claimed, claimed))
    predicted = (claimed > 0.5).astype(np.int64)
    return Table(rows, probabilities=probabilities, predicted=predicted), labels


@pytest.fixture(scope="module")
def profile() -> Profile:
    table, labels = scored(np.random.default_rng(1), 5000)
    return Profile.build(table, salt="s", labels=labels, classes=CLASSES)


def quality_of(profile: Profile, table: Table) -> Finding:
    findings = compare(profile, {"": count(profile, table)})
    (finding,) = [each for each in findings if each.kind is Kind.ESTIMATED_QUALITY]
    return finding


@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_calibration_is_that_of_scikit_learn(decimals: int) -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(decimals)
    scores = rng.random(1000).round(decimals)
    hits = (rng.random(1000) < scores**2).astype(np.float64)
    other = np.concatenate((rng.random(1000), [-1.0, 2.0]))
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores, hits).predict(other)

    assert Isotonic.fit(scores, hits)(other) == pytest.approx(expected, abs=1e-9)


def test_estimates_hold_for_a_model_that_claims_too_much(profile: Profile) -> None:
    table, labels = scored(np.random.default_rng(2), 20_000)
    assert table.predicted is not None
    assert table.probabilities is not None

    estimate = count(profile, table).quality

    assert estimate is not None
    assert estimate.accuracy == pytest.approx((table.predicted == labels).mean(), abs=0.01)
    claimed = table.probabilities.max(axis=1).mean()
    assert claimed > (table.predicted == labels).mean() + 0.03


def test_estimates_from_counts_are_those_from_rows(profile: Profile) -> None:
    from sklearn.metrics import roc_auc_score

    table, _ = scored(np.random.default_rng(3), 3000)
    assert table.probabilities is not None
    assert profile.calibrator is not None
    shares = profile.calibrator(table.probabilities)[:, 1]

    estimate = count(profile, table).quality

    assert estimate is not None
    # Each row stands for a positive and a negative one, weighted by its probability.
    labels = np.repeat([1, 0], len(shares))
    weights = np.concatenate((shares, 1 - shares))
    expected = roc_auc_score(labels, np.tile(shares, 2), sample_weight=weights)
    assert estimate.roc_auc == pytest.approx(expected, abs=1e-4)
    assert estimate.accuracy == pytest.approx(np.maximum(shares, 1 - shares).mean(), abs=1e-3)


def test_estimates_of_three_classes() -> None:
    rng = np.random.default_rng(4)
    truth = rng.dirichlet([0.5, 0.5, 0.5], 10_000)
    labels = (truth.cumsum(axis=1) < rng.random((10_000, 1))).sum(axis=1)
    predicted: IntArray = truth.argmax(axis=1).astype(np.int64)
    calibrator = Calibrator.fit(truth[:5000], labels[:5000])
    assert calibrator is not None

    window = Table(5000, probabilities=truth[5000:], predicted=predicted[5000:])
    estimate = ExpectedQuality.of(calibrator, window)

    assert estimate is not None
    hits = (predicted == labels)[5000:].mean()
    assert estimate.accuracy == pytest.approx(hits, abs=0.02)


def test_answers_that_become_uncertain_are_an_alarm_without_labels(profile: Profile) -> None:
    table, labels = scored(np.random.default_rng(5), 1000, certainty=1.0)
    assert table.predicted is not None

    finding = quality_of(profile, table)

    assert finding.severity == "severe"
    assert finding.figures["accuracy"] == pytest.approx(
        (table.predicted == labels).mean(), abs=0.05
    )


def test_a_window_without_probabilities_gets_no_verdict_on_its_quality(profile: Profile) -> None:
    table, _ = scored(np.random.default_rng(5), 1000)
    assert table.probabilities is not None

    finding = quality_of(
        profile, replace(table, probabilities=np.full_like(table.probabilities, np.nan))
    )

    assert finding.value is None
    assert "too few answers with probabilities, 0" in finding.reason


def test_answers_that_become_more_certain_are_no_alarm(profile: Profile) -> None:
    table, _ = scored(np.random.default_rng(6), 1000, certainty=9.0)

    assert quality_of(profile, table).severity is None


def test_false_alarms_of_skewed_certainty_are_rare() -> None:
    """Most answers are certain, a few are not: the worst case for the normal approximation."""
    rng = np.random.default_rng(7)

    def draw(rows: int) -> Table:
        sure = np.where(rng.random(rows) < 0.05, 0.6, 0.99)
        probabilities = np.column_stack((1 - sure, sure))
        return Table(rows, probabilities=probabilities, predicted=np.ones(rows, np.int64))

    reference = draw(5000)
    assert reference.probabilities is not None
    labels = (rng.random(5000) < reference.probabilities[:, 1]).astype(np.float64)
    profile = Profile.build(reference, salt="s", labels=labels, classes=CLASSES)

    p_values = [quality_of(profile, draw(100)).p_value for _ in range(400)]

    assert sum(p is not None and p < 0.005 for p in p_values) <= 4


def test_no_estimate_without_labels() -> None:
    table, _ = scored(np.random.default_rng(1), 500)

    profile = Profile.build(table, salt="s", classes=CLASSES)

    assert profile.calibrator is None
    assert count(profile, table).quality is None


def test_measured_quality_of_a_reference() -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(0, 1, 500)
    labels[:100] = np.nan
    errors = rng.normal(0, 0.1, 500)
    table = Table(500, {"prediction": Numbers(labels + errors)})

    profile = Profile.build(table, salt="s", labels=labels)

    assert profile.labelled_rows == 400
    assert profile.quality is not None
    assert profile.quality.rmse == pytest.approx(np.sqrt((errors[100:] ** 2).mean()))
    assert profile.quality.absolute_error == pytest.approx(np.abs(errors[100:]).mean())
