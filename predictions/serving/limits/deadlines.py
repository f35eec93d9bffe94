"""How long a caller waits for its answer.

A deadline counts from the arrival of the request. The time it allows is the version's own
`timeout_seconds`, or else PREDICTION_TIMEOUT_SECONDS, and the caller may only shorten it.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from registry.models import MAX_TIMEOUT_SECONDS
from registry.runtimes.base import DeadlineExceeded

# Set by the server before it reads the body: `time.monotonic()`.
ARRIVED_AT = "mlapi.arrived_at"
# Ours, and the one that Envoy (Istio, Knative, KServe) adds to say when it gives up itself.
HEADERS = ("X-Request-Timeout-Ms", "X-Envoy-Expected-Rq-Timeout-Ms")
_KEYS = tuple((f"HTTP_{name.upper().replace('-', '_')}", name) for name in HEADERS)


class InvalidTimeout(ValueError):
    """The header is not a number of milliseconds; the message is for the caller."""


class Deadline(NamedTuple):
    """`at` is a time of `time.monotonic()`; `seconds` is how long it is after the arrival."""

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float, *, since: float | None = None) -> Self:
        return cls((time.monotonic() if since is None else since) + seconds, seconds)

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self.at

    def exceeded(self) -> DeadlineExceeded:
        """The error of a row that was not answered in time."""
        return DeadlineExceeded(f"No answer within {self.seconds:g} s")


def latest(deadlines: Iterable[Deadline | None]) -> Deadline | None:
    """The last of some deadlines; None if one of them is None, which never passes."""
    last: Deadline | None = None
    for deadline in deadlines:
        if deadline is None:
            return None
        if last is None or deadline > last:
            last = deadline
    return last


def arrival(environ: Mapping[str, Any]) -> float:
    """When the request of a WSGI environment arrived; now, if the server does not tell."""
    arrived_at: float | None = environ.get(ARRIVED_AT)
    return time.monotonic() if arrived_at is None else arrived_at


def read_timeout(environ: Mapping[str, Any]) -> float | None:
    """The shortest time in seconds that a request's HEADERS allow; raises InvalidTimeout."""
    shortest: float | None = None
    for key, name in _KEYS:
        text = environ.get(key)
        if text is not None:
            seconds = _parse_milliseconds(text, name) / 1000
            shortest = seconds if shortest is None else min(shortest, seconds)
    return shortest


def _parse_milliseconds(text: str, name: str) -> int:
    maximum = MAX_TIMEOUT_SECONDS * 1000
    if text.isascii() and text.isdecimal() and len(text) < 12 and 0 < int(text) <= maximum:
        return int(text)
    raise InvalidTimeout(f"{name}: Must be a whole number of milliseconds from 1 to {maximum}.")
