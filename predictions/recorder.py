"""Predictions in, committed rows out."""

from django.db import IntegrityError

from predictions.metrics import PREDICTIONS, RECORDING_SECONDS
from predictions.models import Prediction
from registry.models import ModelNotFound, ModelVersion


def record(prediction: Prediction) -> Prediction:
    """Insert a prediction and return it once it is committed, with its id.

    Raises ModelNotFound where the version was deleted meanwhile.
    """
    try:
        with RECORDING_SECONDS.time():
            prediction.save(force_insert=True)
    except IntegrityError as error:
        if ModelVersion.objects.filter(pk=prediction.model_id).exists():
            raise
        raise ModelNotFound(f"Model {prediction.model_id} not found or inactive") from error
    PREDICTIONS.labels(str(prediction.model), prediction.status).inc()
    return prediction
