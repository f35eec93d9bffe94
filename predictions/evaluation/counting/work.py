"""Counting, for the worker and the command."""

import logging
from collections.abc import Callable
from datetime import timedelta

from predictions.evaluation.counting import following, recounting
from predictions.evaluation.counting.following import Committing
from predictions.evaluation.counting.ledger import Outdated
from registry.work.recurring import Turn, recurring

logger = logging.getLogger(__name__)


def count_due(
    may_continue: Callable[[], bool] = lambda: True,
    committing: Committing = lambda rows: None,
) -> None:
    """Count everything that can be counted now, in steps, each in a short transaction.

    Calls `committing` in each of these transactions with its number of rows, and ends early if
    `may_continue` says so, which is asked before each step and during long ones. Interrupted, it
    goes on with the next step when it is called again. Several may count at once.
    """
    while may_continue():
        try:
            is_at_end = following.follow(committing)
            if is_at_end and not recounting.recount(committing, may_continue):
                return
        except Outdated:
            logger.debug("Others have changed counts; this step is repeated")


def _count(turn: Turn) -> None:
    count_due(turn.may_continue)


COUNTING = recurring(
    "counting",
    "Counts new predictions by hour, for monitors",
    _count,
    every=timedelta(minutes=1),
)
