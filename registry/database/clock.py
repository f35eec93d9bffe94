"""The time by the database's clock, as far as this process knows it.

Replicas share the database, but not their clocks. What one of them writes and another one compares
(when a lease ends, which row is newer) is therefore told by the one clock that they have in common.
"""

import logging
import time
from datetime import datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from registry.metrics import CLOCK_OFFSET_SECONDS

# Clocks that are kept by NTP differ by a few milliseconds.
WARN_SECONDS = 1.0

logger = logging.getLogger(__name__)

_offset = timedelta()
_has_warned = False


def now() -> datetime:
    """The time in UTC: this machine's, corrected by what `compare` has found."""
    return timezone.now() + _offset


def compare(connection: BaseDatabaseWrapper) -> None:
    """Ask the database for its time, and correct `now` from here on.

    SQLite has this machine's clock. The result is as exact as half the time that the answer took
    (F. Cristian, "Probabilistic clock synchronization", 1989): a smaller difference changes
    nothing. Raises Django's database errors.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        sent_at = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::double precision")
        (database_time,) = cursor.fetchone()
        answered_at = time.time()
    _correct(database_time - (sent_at + answered_at) / 2, (answered_at - sent_at) / 2)


def _correct(offset_seconds: float, uncertainty_seconds: float) -> None:
    """Take a measured offset, unless the one that is in use agrees with it.

    The uncertainty is negative if this machine's clock was set back meanwhile.
    """
    global _offset, _has_warned
    known_seconds = _offset.total_seconds()
    if abs(offset_seconds - known_seconds) <= uncertainty_seconds or uncertainty_seconds < 0:
        return
    # Otherwise a clock that is right would be corrected by the noise of the measurement.
    is_right = abs(offset_seconds) <= uncertainty_seconds
    _offset = timedelta() if is_right else timedelta(seconds=offset_seconds)
    CLOCK_OFFSET_SECONDS.set(_offset.total_seconds())
    is_far = abs(offset_seconds) >= WARN_SECONDS
    if is_far and not _has_warned:
        logger.warning(
            "This machine's clock is %.1f s %s the database's. Rows get the database's time, but "
            "tokens are checked by the machine's: synchronise both",
            abs(offset_seconds),
            "behind" if offset_seconds > 0 else "ahead of",
        )
    _has_warned = is_far
