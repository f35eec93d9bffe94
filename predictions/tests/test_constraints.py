"""What the table of predictions refuses, and what a record does to be accepted."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from predictions.models import MAX_ERROR_LENGTH, Prediction
from predictions.serving import recorder
from predictions.serving.answers import Answer
from predictions.serving.records import Record
from registry.models import ModelVersion


@pytest.mark.parametrize(
    ("status", "error"), [("failed", ""), ("succeeded", "why"), ("pending", ""), ("", "")]
)
def test_a_status_that_does_not_match_the_error_violates_a_constraint(
    iris: ModelVersion, status: str, error: str
) -> None:
    with pytest.raises(IntegrityError, match="prediction_failed_has_error"):
        Prediction.objects.create(model=iris, input_data={}, status=status, error=error)


def test_a_user_with_predictions_cannot_be_deleted(iris: ModelVersion, user: User) -> None:
    Prediction.objects.create(model=iris, input_data={}, user=user)

    with pytest.raises(IntegrityError):
        user.delete()

    assert User.objects.filter(pk=user.pk).exists()


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        ("plain", "plain"),
        ("nul\0byte", "nulbyte"),
        ("half \ud800 pair", "half ? pair"),
        ("", "ValueError"),
        ("x" * 5000, "x" * MAX_ERROR_LENGTH),
    ],
    ids=["plain", "nul", "surrogate", "empty", "long"],
)
def test_any_message_of_a_library_can_be_stored(
    iris: ModelVersion, message: str, stored: str
) -> None:
    record = Record(iris, {})
    record.take(Answer(error=ValueError(message)))

    [result] = recorder.record([record])

    assert result is record
    assert Prediction.objects.get().error == stored
