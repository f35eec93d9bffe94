"""Measured quality: the outcomes recorded in a window, against the reference's labels."""

from datetime import timedelta
from typing import Any

import pytest

from predictions.evaluation.drift.findings import Finding
from predictions.evaluation.drift.quality import Quality
from predictions.evaluation.monitoring.measured_quality import measured_quality
from predictions.models import Outcome
from predictions.testing.rows import (
    NOON,
    REGRESSOR_SIGNATURE,
    TWO_OUTPUT_SIGNATURE,
    classifier_signature,
    create_predictions,
    make_version,
)
from registry.models import ModelVersion

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(days=30)
CLASSIFIED = Quality(1000, correct=900, f1_macro=0.9)
ESTIMATED = Quality(1000, absolute_error=1.0, absolute_error_variance=0.25, rmse=1.1)


@pytest.fixture
def classifier() -> ModelVersion:
    return make_version(classifier_signature(["no", "yes"]))


def classify(version: ModelVersion, rows: int, correct: int, **fields: Any) -> None:
    """Answers of long ago, whose outcomes were recorded later."""
    answers = create_predictions(version, [0.0] * rows)
    Outcome.objects.bulk_create(
        Outcome(
            prediction=row,
            label="no" if number < correct else "yes",
            **{"created_at": LATER, **fields},
        )
        for number, row in enumerate(answers)
    )


def measure(
    version: ModelVersion, reference: Quality | None = CLASSIFIED, independent: float = 1.0
) -> Finding | None:
    end = LATER + timedelta(days=1)
    return measured_quality(version, reference, LATER, end, independent=independent)


@pytest.mark.parametrize(
    ("correct", "severity"), [(360, None), (356, None), (338, "severe"), (400, None)]
)
def test_a_fall_of_the_accuracy_beyond_chance_is_an_alarm(
    classifier: ModelVersion, correct: int, severity: str | None
) -> None:
    classify(classifier, 400, correct)

    finding = measure(classifier)

    assert finding is not None
    assert finding.severity == severity
    assert finding.value == pytest.approx(0.9 - correct / 400)
    assert finding.threshold == 0.02
    assert finding.figures["rows"] == 400
    assert f"{correct / 4:g} % on 400 outcomes, in the reference 90 %" in finding.reason


def test_a_fall_that_may_be_chance_is_no_alarm(classifier: ModelVersion) -> None:
    classify(classifier, 100, 84)

    finding = measure(classifier)

    assert finding is not None
    assert (finding.value or 0) > 0.05
    assert finding.severity is None


def test_the_z_test_is_that_of_two_proportions(classifier: ModelVersion) -> None:
    from scipy import stats

    classify(classifier, 400, 345)
    finding = measure(classifier)

    table = [[345, 55], [900, 100]]
    both_sides = stats.chi2_contingency(table, correction=False).pvalue
    assert finding is not None
    assert finding.p_value == pytest.approx(both_sides / 2, rel=1e-9)


def test_outcomes_count_in_the_window_in_which_they_are_recorded(
    classifier: ModelVersion,
) -> None:
    classify(classifier, 200, 100, created_at=LATER - timedelta(microseconds=1))
    classify(classifier, 200, 100, created_at=LATER + timedelta(days=1))
    classify(classifier, 150, 150)

    finding = measure(classifier)

    assert finding is not None
    assert finding.figures["rows"] == 150


def test_few_outcomes_give_no_verdict(classifier: ModelVersion) -> None:
    empty = measure(classifier)
    classify(classifier, 99, 0)
    few = measure(classifier)
    classify(classifier, 101, 0)
    dependent = measure(classifier, independent=0.4)

    for finding in (empty, few, dependent):
        assert finding is not None
        assert (finding.severity, finding.value, finding.p_value) == (None, None, None)
    assert few is not None
    assert few.reason == "99 outcomes were recorded; a verdict takes 100"
    assert dependent is not None
    assert "say as much as 80 independent ones" in dependent.reason


def test_a_reference_without_labels_or_several_outputs_have_no_finding(
    classifier: ModelVersion,
) -> None:
    classify(classifier, 200, 100)

    assert measure(classifier, None) is None
    assert measure(make_version(TWO_OUTPUT_SIGNATURE, "two")) is None


@pytest.mark.parametrize(("error", "severity"), [(1.0, None), (1.15, "warning"), (1.5, "severe")])
def test_a_larger_absolute_error_is_an_alarm(error: float, severity: str | None) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    answers = create_predictions(version, [10.0] * 400)
    Outcome.objects.bulk_create(
        # Half a unit around the mean error.
        Outcome(prediction=row, value=10.0 - error + (0.5 if i % 2 else -0.5), created_at=LATER)
        for i, row in enumerate(answers)
    )

    finding = measure(version, ESTIMATED)

    assert finding is not None
    assert finding.severity == severity
    assert finding.value == pytest.approx(error - 1.0, abs=1e-9)
    assert "on 400 outcomes, in the reference 1" in finding.reason


def test_a_reference_without_errors(classifier: ModelVersion) -> None:
    version = make_version(REGRESSOR_SIGNATURE, "exact")
    exact = Quality(1000, absolute_error=0.0, absolute_error_variance=0.0, rmse=0.0)
    answers = create_predictions(version, [10.0] * 100)
    Outcome.objects.bulk_create(
        Outcome(prediction=row, value=10.0, created_at=LATER) for row in answers
    )
    same = measure(version, exact)
    answers = create_predictions(version, [10.0] * 100)
    Outcome.objects.bulk_create(
        Outcome(prediction=row, value=11.0, created_at=LATER) for row in answers
    )
    worse = measure(version, exact)

    assert same is not None
    assert (same.severity, same.value) == (None, 0.0)
    assert worse is not None
    assert worse.severity == "severe"
