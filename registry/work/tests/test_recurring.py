"""Work at intervals: by one worker at a time, again after a failure, and after a death."""

from datetime import timedelta

import pytest
from django.utils import timezone

from registry.models import RecurringWork
from registry.work.kinds import Kind
from registry.work.recurring import RETRY, Turn, recurring

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def never() -> bool:
    return False


def kind(turns: list[Turn] | None = None) -> Kind[Turn]:
    """A worker's own view of the work."""
    return recurring("tidying", "Tidies", (turns if turns is not None else []).append, every=HOUR)


def due_in() -> timedelta:
    return RecurringWork.objects.get().due_at - timezone.now()


def test_work_is_due_at_once_and_again_after_its_interval() -> None:
    turns: list[Turn] = []
    work = kind(turns)

    turn = work.take_due()
    assert turn is not None
    work.run(turn, never)

    assert turns == [turn]
    assert timedelta(minutes=59) < due_in() <= HOUR
    assert work.take_due() is None
    assert kind().take_due() is None
    assert RecurringWork.objects.get().finished_at is not None


def test_two_workers_do_not_do_it_at_once() -> None:
    assert kind().take_due() is not None
    assert kind().take_due() is None


def test_work_of_a_worker_that_died_is_due_when_its_lease_ends() -> None:
    dead = kind().take_due()
    assert dead is not None
    assert timedelta(minutes=4) < due_in() <= timedelta(minutes=5)
    RecurringWork.objects.update(due_at=timezone.now())

    turn = kind().take_due()

    assert turn is not None
    assert turn.may_continue()
    # It was not dead after all: it stops, and does not change when the work is due.
    assert not dead.may_continue()
    dead.finish(timezone.now() - HOUR)
    assert due_in() > timedelta(minutes=4)


def test_failure_is_recorded_and_repeated_soon() -> None:
    def fail(turn: Turn) -> None:
        raise ValueError("no disk")

    work = recurring("tidying", "", fail, every=HOUR)
    turn = work.take_due()
    assert turn is not None
    with pytest.raises(ValueError, match="no disk"):
        work.run(turn, never)

    assert RecurringWork.objects.get().error == "ValueError: no disk"
    assert due_in() <= RETRY


def test_stop_interrupts_it_between_steps_and_leaves_it_due() -> None:
    steps: list[int] = []

    def run(turn: Turn) -> None:
        while turn.may_continue():
            steps.append(1)

    work = recurring("tidying", "", run, every=HOUR)
    turn = work.take_due()
    assert turn is not None
    work.run(turn, lambda: len(steps) >= 3)

    assert len(steps) == 3
    assert due_in() <= timedelta(0)


def test_idle_worker_does_not_ask_the_database_every_time(
    django_assert_num_queries: object,
) -> None:
    work = kind()
    turn = work.take_due()
    assert turn is not None
    work.run(turn, never)
    assert work.take_due() is None

    with django_assert_num_queries(0):  # type: ignore[operator]
        assert work.take_due() is None
