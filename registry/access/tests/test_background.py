"""Work that requests start in a thread."""

import threading
import time

import pytest

from registry.access.background import Background

SECONDS = 30.0
# Other tests replace it by a function that does nothing.
POKE = Background.poke


@pytest.fixture(autouse=True)
def with_threads(no_background_work: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Background, "poke", POKE)


def test_there_is_never_more_than_one_thread_however_long_a_run_hangs() -> None:
    begun, goes_on = threading.Event(), threading.Event()
    runs: list[threading.Thread] = []

    def hang() -> None:
        runs.append(threading.current_thread())
        begun.set()
        goes_on.wait(SECONDS)

    background = Background("hanging", hang, seconds=0)
    try:
        background.poke()
        assert begun.wait(SECONDS)
        for _ in range(5):
            background.poke_and_wait(0.02)
        assert len(runs) == 1
    finally:
        goes_on.set()
    runs[0].join(SECONDS)

    background.poke_and_wait(SECONDS)
    assert len(runs) == 2


def test_a_run_that_fails_is_followed_by_another() -> None:
    ended: list[float] = []

    def fail() -> None:
        ended.append(time.monotonic())
        raise ValueError("as if the database were away")

    background = Background("failing", fail, seconds=0)
    for _ in range(3):
        background.poke_and_wait(SECONDS)

    assert len(ended) == 3
