"""The guards: under which condition the recording statement writes a prediction.

They are a part of that statement, so they cost no query of their own, and see everything that was
committed before it began: no request sent after a deactivation, a revocation or the loss of a
right was confirmed gets a 201. For requests that fail before they are recorded, and for earlier
answers that are repeated, `check` asks the same condition on its own.
"""

from predictions.serving.guards.admission import admit, require_right
from predictions.serving.guards.checks import (
    Asked,
    CallerInactive,
    Identity,
    check,
    check_caller,
    check_scope,
    key_refusal,
    refusal,
)
from predictions.serving.guards.condition import condition, is_open, usual_condition

__all__ = [
    "Asked",
    "CallerInactive",
    "Identity",
    "admit",
    "check",
    "check_caller",
    "check_scope",
    "condition",
    "is_open",
    "key_refusal",
    "refusal",
    "require_right",
    "usual_condition",
]
