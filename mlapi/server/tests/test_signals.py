import signal
import time

from mlapi.server.supervisor import SignalSafeEvent


def test_signal_handler_may_set_the_event_while_its_thread_waits_and_clears() -> None:
    # With threading.Event, the handler soon waits for the lock that its own thread holds.
    event = SignalSafeEvent()
    signals = 0

    def handle(*_: object) -> None:
        nonlocal signals
        signals += 1
        event.set()

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        while signals < 2000:
            event.wait(0.001)
            event.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_event_that_was_set_ends_one_wait_and_a_cleared_one_none() -> None:
    event = SignalSafeEvent()
    event.set()
    began_at = time.monotonic()
    event.wait(60)
    assert time.monotonic() - began_at < 60

    event.set()
    event.set()
    event.clear()
    began_at = time.monotonic()
    event.wait(0.05)
    assert time.monotonic() - began_at >= 0.05
