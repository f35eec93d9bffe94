"""Imported predictions, and the constraints of the table of predictions."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from predictions.models import MAX_ERROR_LENGTH, Prediction
from predictions.serving import recorder, services
from predictions.serving.answers import Answer
from predictions.serving.records import Record
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.services import VersionExists


def past_predictions(n: int) -> Iterator[JSONObject]:
    for i in range(n):
        yield {"input_data": {"features": [i]}, "prediction": float(i)}


def test_a_version_is_created_with_its_past_predictions(db: None) -> None:
    version, count = services.create_model_with_predictions(
        name="old", version="1", framework="elsewhere", predictions=past_predictions(2500)
    )

    assert count == version.predictions.count() == 2500
    assert version.predictions.newest_first()[0].prediction is not None


def test_a_version_without_predictions_is_created(db: None) -> None:
    _, count = services.create_model_with_predictions(
        name="old", version="1", framework="elsewhere", predictions=[]
    )

    assert (count, ModelVersion.objects.count()) == (0, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("n_before", [0, 10, 1500])
def test_one_invalid_prediction_leaves_neither_version_nor_predictions(n_before: int) -> None:
    def predictions() -> Iterator[JSONObject]:
        yield from past_predictions(n_before)
        raise ValueError("line 3")

    with pytest.raises(ValueError, match="line 3"):
        services.create_model_with_predictions(
            name="old", version="1", framework="elsewhere", predictions=predictions()
        )

    assert (ModelVersion.objects.count(), Prediction.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_leaves_neither_version_nor_predictions() -> None:
    invalid = {"input_data": {}, "status": "failed", "error": ""}

    with pytest.raises(IntegrityError):
        services.create_model_with_predictions(
            name="old",
            version="1",
            framework="elsewhere",
            predictions=[*past_predictions(5), invalid],
        )

    assert (ModelVersion.objects.count(), Prediction.objects.count()) == (0, 0)


def test_past_predictions_of_an_existing_version_are_refused(iris: ModelVersion) -> None:
    with pytest.raises(VersionExists):
        services.create_model_with_predictions(
            name="iris", version="1", framework="elsewhere", predictions=past_predictions(1)
        )

    assert Prediction.objects.count() == 0


# -- the table


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
