"""The tables of predictions."""

from predictions.models.keys import MAX_KEY_LENGTH, IdempotencyKey
from predictions.models.log import (
    LISTED_FIELDS,
    MAX_CALLERS_NAME_LENGTH,
    MAX_ERROR_LENGTH,
    Prediction,
    PredictionNotFound,
    protect_by_sample,
)

__all__ = [
    "LISTED_FIELDS",
    "MAX_CALLERS_NAME_LENGTH",
    "MAX_ERROR_LENGTH",
    "MAX_KEY_LENGTH",
    "IdempotencyKey",
    "Prediction",
    "PredictionNotFound",
    "protect_by_sample",
]
