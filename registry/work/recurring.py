"""Kinds of work that are done at intervals, by one worker at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.database import clock
from registry.models.work import RecurringWork
from registry.work.kinds import IsStopping, Kind

# A failed run is repeated after this, or after the interval if that is shorter.
RETRY = timedelta(minutes=5)
# How often an idle worker looks at the table at least: someone may have changed the time.
MAX_SECONDS_BETWEEN_LOOKS = 60.0


@dataclass(slots=True)
class Turn:
    """One run of recurring work, while its lease lasts."""

    name: str
    lease: timedelta
    lease_until: datetime
    is_stopping: IsStopping = lambda: False

    def may_continue(self) -> bool:
        """Renew the lease; whether there is still one and the worker is not stopping.

        Work in steps calls this before each one, and returns early once it is False.
        """
        return not self.is_stopping() and self._move_due_at(clock.now() + self.lease)

    def finish(self, due_at: datetime, error: str = "") -> None:
        self._move_due_at(due_at, finished_at=clock.now(), error=error)

    def _move_due_at(self, due_at: datetime, **fields: object) -> bool:
        held = RecurringWork.objects.filter(name=self.name, due_at=self.lease_until)
        if not held.update(due_at=due_at, **fields):
            return False
        self.lease_until = due_at
        return True


def recurring(
    name: str,
    description: str,
    run: Callable[[Turn], object],
    *,
    every: timedelta,
    lease: timedelta = timedelta(minutes=5),
) -> Kind[Turn]:
    """Work that becomes due at once, and again `every` so long after the end of the last run.

    `run` gets its Turn; `lease` is how long one step of it may take. If it fails, the error is
    recorded, and it is due again after RETRY at most.
    """
    schedule = _Schedule(name, lease)

    def run_turn(turn: Turn, is_stopping: IsStopping) -> None:
        turn.is_stopping = is_stopping
        try:
            run(turn)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".replace("\x00", "")[:500]
            turn.finish(clock.now() + min(every, RETRY), text)
            raise
        # Interrupted work is due at once, for another worker or after the restart.
        turn.finish(clock.now() + (timedelta() if is_stopping() else every))

    return Kind(name, description, schedule.take, run_turn)


class _Schedule:
    """When one worker looks at a row again: asking the database every second is not necessary."""

    def __init__(self, name: str, lease: timedelta) -> None:
        self._name, self._lease = name, lease
        self._look_at = 0.0

    def take(self) -> Turn | None:
        if time.monotonic() < self._look_at:
            return None
        now = clock.now()
        row = RecurringWork.objects.filter(pk=self._name).first()
        if row is None:
            row = RecurringWork(name=self._name, due_at=now)
            RecurringWork.objects.bulk_create([row], ignore_conflicts=True)
        if row.due_at <= now:
            lease_until = now + self._lease
            untouched = RecurringWork.objects.filter(pk=self._name, due_at=row.due_at)
            if untouched.update(due_at=lease_until, started_at=now):
                return Turn(self._name, self._lease, lease_until)
            return None
        seconds = (row.due_at - now).total_seconds()
        self._look_at = time.monotonic() + min(seconds, MAX_SECONDS_BETWEEN_LOOKS)
        return None
