"""What a fault is."""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.chaos.system import SystemUnderTest
from benchmarks.traffic.clients import Event


class NotPossible(Exception):
    """This machine, database or version cannot have the fault; the message says why."""


class Refused(Exception):
    """The service refuses what the fault needs, as it should; the message says how."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What callers and supervisors may notice of a fault, beyond refusals with Retry-After.

    `cuts_requests`: requests may go unanswered, as their processes are killed. `restarts_service`:
    the parent ends, and nothing can answer health until an init system has started it again.
    `is_unready`: readiness must become false meanwhile.
    """

    cuts_requests: bool = False
    restarts_service: bool = False
    is_unready: bool = False


class Fault:
    """Something that goes wrong between `begin` and `end`. Each may raise NotPossible or Refused
    in `prepare`.

    Of faults with the same `group`, only one happens at a time.
    """

    name: ClassVar[str]
    group: ClassVar[str]
    effects: ClassVar[Effects] = Effects()
    # Lasts at least so long: a fault during which requests merely wait must outlast their deadline.
    min_seconds: ClassVar[float] = 0.0

    def __init__(self, system: SystemUnderTest) -> None:
        self.system = system
        # The responses to the fault's own requests: they must be answered in time too.
        self.events: list[Event] = []

    def prepare(self) -> None:
        """Before there is traffic."""

    def begin(self) -> None:
        """Under traffic; returns at once."""

    def proceed(self, elapsed_seconds: float) -> None:
        """Called every now and then while the fault lasts."""

    def end(self) -> None:
        """Put things right, under traffic."""

    def restore(self) -> None:
        """After the traffic has stopped."""

    def violations(self) -> list[str]:
        """What else is wrong, after the recovery."""
        return []
