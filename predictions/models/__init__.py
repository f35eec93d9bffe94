"""The tables of predictions."""

from predictions.models.log import (
    LISTED_FIELDS,
    MAX_CALLERS_NAME_LENGTH,
    MAX_ERROR_LENGTH,
    Prediction,
    PredictionNotFound,
    protect_by_sample,
)
from predictions.models.replays import (
    MAX_REPLAY_NAME_LENGTH,
    Replay,
    ReplayNotFound,
    ReplayResult,
)

__all__ = [
    "LISTED_FIELDS",
    "MAX_CALLERS_NAME_LENGTH",
    "MAX_ERROR_LENGTH",
    "MAX_REPLAY_NAME_LENGTH",
    "Prediction",
    "PredictionNotFound",
    "Replay",
    "ReplayNotFound",
    "ReplayResult",
    "protect_by_sample",
]
