"""Which error a caller may be told, if nothing has checked the caller yet."""

from django.db import InterfaceError, OperationalError

from predictions.serving import guards
from predictions.serving.guards import CallerInactive
from predictions.serving.limits.bulkheads import ModelOverloaded
from predictions.serving.questions import Caller
from predictions.serving.services import PredictionFailed
from registry.access.limits import RateLimited

# The first two come from recording, which checks the caller itself. The others tell nothing, and
# another query would only add to what the service is short of.
CHECKED_OR_HARMLESS = (
    CallerInactive,
    PredictionFailed,
    ModelOverloaded,
    RateLimited,
    OperationalError,
    InterfaceError,
)


def error_for(caller: Caller, error: Exception) -> Exception:
    """The error to report to a caller whose request failed before anything was recorded.

    An error may tell something of a model, such as the names of its features. So it is what
    recording would have refused the caller for: a user that is inactive, a token or key that is no
    longer valid, a model that the caller has no right to. If that cannot be found out, it is the
    database's error.
    """
    if isinstance(error, CHECKED_OR_HARMLESS):
        return error
    try:
        if caller.asked is None:
            return guards.check_caller(caller.identity) or error
        return guards.check(caller.identity, caller.asked) or error
    except (OperationalError, InterfaceError) as unavailable:
        return unavailable
