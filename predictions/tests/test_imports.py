"""Predictions made elsewhere are stored together with their version, or not at all."""

from collections.abc import Iterator

import pytest
from django.db import IntegrityError

from predictions.imports import create_model_with_predictions
from predictions.models import Prediction
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.services import VersionExists


def past_predictions(n: int) -> Iterator[JSONObject]:
    for i in range(n):
        yield {"input_data": {"features": [i]}, "prediction": float(i)}


def test_a_version_is_created_with_its_past_predictions(db: None) -> None:
    version, count = create_model_with_predictions(
        name="old", version="1", framework="elsewhere", predictions=past_predictions(2500)
    )

    assert count == version.predictions.count() == 2500
    assert version.predictions.newest_first()[0].prediction is not None


def test_a_version_without_predictions_is_created(db: None) -> None:
    _, count = create_model_with_predictions(
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
        create_model_with_predictions(
            name="old", version="1", framework="elsewhere", predictions=predictions()
        )

    assert (ModelVersion.objects.count(), Prediction.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_leaves_neither_version_nor_predictions() -> None:
    invalid = {"input_data": {}, "status": "failed", "error": ""}

    with pytest.raises(IntegrityError):
        create_model_with_predictions(
            name="old",
            version="1",
            framework="elsewhere",
            predictions=[*past_predictions(5), invalid],
        )

    assert (ModelVersion.objects.count(), Prediction.objects.count()) == (0, 0)


def test_past_predictions_of_an_existing_version_are_refused(iris: ModelVersion) -> None:
    with pytest.raises(VersionExists):
        create_model_with_predictions(
            name="iris", version="1", framework="elsewhere", predictions=past_predictions(1)
        )

    assert Prediction.objects.count() == 0
