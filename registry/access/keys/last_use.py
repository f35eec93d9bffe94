"""When API keys were last used, written off the path of requests."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from django.db import connection
from django.utils import timezone

from registry.models import ApiKey

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 60.0
# Forgetting when a key was last written costs one more write.
MAX_REMEMBERED = 10_000


class LastUses:
    """Has `write` store the IDs of used keys, each at most once in SECONDS_BETWEEN_WRITES.

    A thread writes them, which ends as soon as nothing is left to write.
    """

    def __init__(self, write: Callable[[Collection[int]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        # By the monotonic clock.
        self._due_at: dict[int, float] = {}
        self._waiting: set[int] = set()
        self._is_writing = False

    def note(self, key_id: int) -> None:
        """A key was used; never waits for the database."""
        now = time.monotonic()
        if now < self._due_at.get(key_id, 0.0):
            return
        with self._lock:
            if len(self._due_at) >= MAX_REMEMBERED:
                self._due_at.clear()
            self._due_at[key_id] = now + SECONDS_BETWEEN_WRITES
            self._waiting.add(key_id)
            is_first = not self._is_writing
            self._is_writing = True
        if is_first:
            self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="last-uses", daemon=True).start()
        except RuntimeError:
            # The process may be out of threads. The next use of another key tries again.
            self._is_writing = False

    def _run(self) -> None:
        while True:
            with self._lock:
                key_ids, self._waiting = self._waiting, set()
                if not key_ids:
                    self._is_writing = False
                    return
            try:
                self._write(key_ids)
            except Exception as error:
                # The database reports its own troubles elsewhere; the next use writes again.
                logger.debug("The last use of API keys could not be written: %s", error)
            finally:
                connection.close()


def _write(key_ids: Collection[int]) -> None:
    ApiKey.objects.filter(pk__in=key_ids).update(last_used_at=timezone.now())


LAST_USES = LastUses(_write)
