"""The tables of the prediction log, its outcomes and its replays."""

from predictions.models.commit_order import (
    await_horizon,
    continue_numbers,
    has_rows_from_the_future,
)
from predictions.models.erasures import Erasure
from predictions.models.idempotency_keys import MAX_KEY_LENGTH, IdempotencyKey
from predictions.models.legal_holds import (
    MAX_PRIVACY_REASON_LENGTH,
    LegalHold,
    LegalHoldNotFound,
)
from predictions.models.outcomes import (
    MAX_OUTCOME_VALUE,
    MAX_PREDICTIONS_OF_REFERENCE,
    Outcome,
    attach_outcomes,
)
from predictions.models.predictions import (
    MAX_CALLERS_NAME_LENGTH,
    MAX_ERROR_LENGTH,
    UNKNOWN,
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
from predictions.models.searching import PredictionFilters

__all__ = [
    "MAX_CALLERS_NAME_LENGTH",
    "MAX_ERROR_LENGTH",
    "MAX_KEY_LENGTH",
    "MAX_OUTCOME_VALUE",
    "MAX_PREDICTIONS_OF_REFERENCE",
    "MAX_PRIVACY_REASON_LENGTH",
    "MAX_REPLAY_NAME_LENGTH",
    "UNKNOWN",
    "Erasure",
    "IdempotencyKey",
    "LegalHold",
    "LegalHoldNotFound",
    "Outcome",
    "Prediction",
    "PredictionFilters",
    "PredictionNotFound",
    "Replay",
    "ReplayNotFound",
    "ReplayResult",
    "attach_outcomes",
    "await_horizon",
    "continue_numbers",
    "has_rows_from_the_future",
    "protect_by_sample",
]
