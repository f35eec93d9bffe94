"""The tables of predictions."""

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
    "Prediction",
    "PredictionNotFound",
    "protect_by_sample",
]
