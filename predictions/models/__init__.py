"""The tables of the prediction log, its outcomes, its replays, what monitors it, and jobs."""

from predictions.models.commit_order import (
    await_horizon,
    continue_numbers,
    has_rows_from_the_future,
)
from predictions.models.idempotency_keys import MAX_KEY_LENGTH, IdempotencyKey
from predictions.models.jobs import (
    MAX_JOB_ERRORS,
    MAX_JOB_KIND_LENGTH,
    Job,
    JobError,
    JobNotFound,
)
from predictions.models.monitors import (
    MAIL_GIVE_UP_AFTER,
    MAX_EMAIL_LENGTH,
    MAX_MAIL_ERROR_LENGTH,
    MAX_MONITOR_NAME_LENGTH,
    MAX_REASON_LENGTH,
    MAX_WINDOW_HOURS,
    Alert,
    AlertMail,
    AlertNotFound,
    Monitor,
    MonitorNotFound,
    MonitorReport,
    MonitorReportNotFound,
    Severity,
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
)
from predictions.models.privacy import (
    MAX_PRIVACY_REASON_LENGTH,
    Erasure,
    LegalHold,
    LegalHoldNotFound,
)
from predictions.models.protection import protect_by_sample
from predictions.models.references import (
    MAX_SEGMENT_LENGTH,
    CountedTo,
    HourCounts,
    Reference,
    ReferenceNotFound,
    StaleHour,
)
from predictions.models.replays import (
    MAX_REPLAY_NAME_LENGTH,
    Replay,
    ReplayNotFound,
    ReplayResult,
)
from predictions.models.searching import PredictionFilters

__all__ = [
    "MAIL_GIVE_UP_AFTER",
    "MAX_CALLERS_NAME_LENGTH",
    "MAX_EMAIL_LENGTH",
    "MAX_ERROR_LENGTH",
    "MAX_JOB_ERRORS",
    "MAX_JOB_KIND_LENGTH",
    "MAX_KEY_LENGTH",
    "MAX_MAIL_ERROR_LENGTH",
    "MAX_MONITOR_NAME_LENGTH",
    "MAX_OUTCOME_VALUE",
    "MAX_PREDICTIONS_OF_REFERENCE",
    "MAX_PRIVACY_REASON_LENGTH",
    "MAX_REASON_LENGTH",
    "MAX_REPLAY_NAME_LENGTH",
    "MAX_SEGMENT_LENGTH",
    "MAX_WINDOW_HOURS",
    "UNKNOWN",
    "Alert",
    "AlertMail",
    "AlertNotFound",
    "CountedTo",
    "Erasure",
    "HourCounts",
    "IdempotencyKey",
    "Job",
    "JobError",
    "JobNotFound",
    "LegalHold",
    "LegalHoldNotFound",
    "Monitor",
    "MonitorNotFound",
    "MonitorReport",
    "MonitorReportNotFound",
    "Outcome",
    "Prediction",
    "PredictionFilters",
    "PredictionNotFound",
    "Reference",
    "ReferenceNotFound",
    "Replay",
    "ReplayNotFound",
    "ReplayResult",
    "Severity",
    "StaleHour",
    "attach_outcomes",
    "await_horizon",
    "continue_numbers",
    "has_rows_from_the_future",
    "protect_by_sample",
]
