"""The bulkhead on its own: who is let in, who waits and who is refused."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from predictions.metrics import MODEL_OVERLOADED
from predictions.serving.limits import bulkheads
from predictions.serving.limits.bulkheads import Bulkhead, ModelOverloaded, loading_place
from registry.models import ModelNotFound

TIMEOUT_SECONDS = 10


@pytest.fixture
def bulkhead() -> Bulkhead:
    return Bulkhead(7)


def is_slow_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkheads, "PATIENCE_SECONDS", 0.02)
    time.sleep(0.05)


def test_a_version_that_answers_quickly_may_use_every_thread(bulkhead: Bulkhead) -> None:
    for caller in range(20):
        bulkhead.enter(caller, limit=2)
    for caller in range(20):
        bulkhead.leave(caller)

    assert not bulkhead._inside


def test_a_caller_beyond_the_limit_gives_up_sooner(bulkhead: Bulkhead) -> None:
    assert bulkhead.enter("a", limit=1) is None
    give_up_at = bulkhead.enter("b", limit=1)

    assert give_up_at is not None
    assert 0 < give_up_at - time.monotonic() <= bulkheads.PATIENCE_SECONDS


def test_a_caller_beyond_the_limit_of_a_slow_version_is_refused(
    bulkhead: Bulkhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulkhead.enter("a", limit=2)
    is_slow_from_now_on(monkeypatch)

    assert bulkhead.enter("b", limit=2) is None
    with pytest.raises(ModelOverloaded, match="at most 2") as caught:
        bulkhead.enter("c", limit=2)
    assert caught.value.retry_after == 1
    # It is slow as long as its oldest call lasts.
    bulkhead.leave("a")
    bulkhead.leave("b")
    assert bulkhead.enter("c", limit=2) is None


def test_a_refusal_is_counted(bulkhead: Bulkhead) -> None:
    counter = MODEL_OVERLOADED.labels("7")
    before = counter._value.get()

    bulkhead.overloaded(2)

    assert counter._value.get() == before + 1


def test_a_caller_waits_for_a_place_and_gets_the_first_that_is_free(
    bulkhead: Bulkhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkheads, "PATIENCE_SECONDS", TIMEOUT_SECONDS)
    n_inside, most = 0, 0
    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal n_inside, most
        with bulkhead.place(limit=3):
            with lock:
                n_inside += 1
                most = max(most, n_inside)
            time.sleep(0.005)
            with lock:
                n_inside -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(60)))

    # Two that come at the same moment may both get the last place.
    assert 1 < most <= 6
    assert not bulkhead._inside


def test_nobody_waits_for_a_place_of_a_slow_version(
    bulkhead: Bulkhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bulkhead.place(limit=1):
        is_slow_from_now_on(monkeypatch)
        with pytest.raises(ModelOverloaded), bulkhead.place(limit=1):
            pass

    assert not bulkhead._inside


def test_a_caller_waits_only_for_a_moment(
    bulkhead: Bulkhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkheads, "PATIENCE_SECONDS", 0.1)
    with bulkhead.place(limit=1), pytest.raises(ModelOverloaded), bulkhead.place(limit=1):
        pass


def test_ids_that_do_not_exist_are_not_kept() -> None:
    with pytest.raises(ModelNotFound), loading_place(987_654, 8):
        raise ModelNotFound("Model 987654 not found")

    assert 987_654 not in bulkheads._bulkheads
