"""What engines have in common: how a worker answers, whatever happens to it. No Django here."""

import logging
from collections.abc import Iterator
from typing import Protocol

from predictions.scoring.doing import do
from predictions.scoring.work import ScoringFailed, ScoringInterrupted
from registry.exact_json.values import JSONObject

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """Has tasks done, by as many workers as it has."""

    def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
        """The receipts of the orders, as they are done.

        Raises ScoringFailed, ScoringInterrupted if the engine itself breaks down, or
        EngineUnavailable.
        """


def reply_to(order: JSONObject) -> JSONObject:
    """What a worker answers: a receipt, or why there is none. Raises nothing."""
    try:
        return {"receipt": do(order)}
    except ScoringInterrupted as error:
        return {"interrupted": str(error)}
    except ScoringFailed as error:
        return {"failed": str(error)}
    except Exception as error:
        logger.exception("A part was not scored")
        return {"failed": f"An unexpected error: {type(error).__name__}: {error}"}


def receipt_in(reply: JSONObject) -> JSONObject:
    """The receipt of a reply; raises ScoringFailed or ScoringInterrupted."""
    if "interrupted" in reply:
        raise ScoringInterrupted(reply["interrupted"])
    if "failed" in reply:
        raise ScoringFailed(reply["failed"])
    receipt: JSONObject = reply["receipt"]
    return receipt


def described(order: JSONObject) -> str:
    """An order for a message."""
    return f"part {order['task']['number']} of {order['source']['name']}"
