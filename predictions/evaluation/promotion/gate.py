"""The promotion gate: all that a caller requires of the version that takes over an alias.

`predictions/apps.py` registers it with the registry.
"""

from collections.abc import Mapping

from predictions.evaluation.monitoring.alerts.requirement import NO_OPEN_ALERTS
from predictions.evaluation.promotion.requirements import (
    Check,
    Errors,
    InvalidRequirement,
    Requirement,
)
from predictions.evaluation.replays.requirement import AGREEING_REPLAY

# In the order in which they are checked: the cheapest first.
REQUIREMENTS: tuple[Requirement, ...] = (NO_OPEN_ALERTS, AGREEING_REPLAY)
EXAMPLE = '{"replay": 1, "min_agreement": 0.98, "no_open_alerts": true}'


def check(from_version_id: int | None, to_version_id: int, require: object) -> None:
    """Raise unless every requirement in the object `require` is met.

    If `from_version_id` is None, there is no live version to compare with. Raises
    InvalidRequirement or PromotionRefused.
    """
    for run in _read(require):
        run(from_version_id, to_version_id)


def _read(require: object) -> list[Check]:
    if not isinstance(require, Mapping) or not require:
        raise InvalidRequirement({"require": [f"Must be an object such as {EXAMPLE}."]})
    known = {name for requirement in REQUIREMENTS for name in requirement.fields}
    errors: Errors = {
        f"require.{str(key)[:100]}": ["Unknown field."] for key in require if key not in known
    }
    checks = [
        requirement.read(require, errors)
        for requirement in REQUIREMENTS
        if any(name in require for name in requirement.fields)
    ]
    if errors:
        raise InvalidRequirement(errors)
    return checks
