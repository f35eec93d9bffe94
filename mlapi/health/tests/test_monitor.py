"""The threads that check, without their servers."""

import threading
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from mlapi.health import monitor
from mlapi.health.monitor import Check, Monitor


def started(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> tuple[Monitor, list[Any]]:
    """A monitor with these checks, and what it publishes."""
    watch = Monitor()
    watch._checks = checks  # type: ignore[assignment]
    published: list[Any] = []
    watch.start(lambda report: published.append(orjson.loads(report)))
    return watch, published


def test_check_that_hangs_is_stale_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "STALE_SECONDS", 0.3)
    calls, hang = threading.Semaphore(1), threading.Event()

    def hanging() -> Mapping[str, str]:
        if not calls.acquire(blocking=False):
            hang.wait(60)
        return {"slow": "ok"}

    def quick() -> Mapping[str, str]:
        return {"quick": "ok"}

    watch, published = started(
        monkeypatch, Check(("slow",), hanging, 0), Check(("quick",), quick, 0.01)
    )
    for _ in range(600):
        if watch.state() == {"slow": "stale", "quick": "ok"}:
            break
        hang.wait(0.05)
    hang.set()

    assert published
    assert watch.state()["quick"] == "ok"
    assert monitor.is_ready({"slow": "stale", "quick": "ok"}) is False
    for _ in range(600):
        if monitor.is_ready(watch.state()):
            return
        threading.Event().wait(0.05)
    raise AssertionError("Not ready again")


def test_nothing_is_ready_before_it_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def hanging() -> Mapping[str, str]:
        hang.wait(60)
        return {"slow": "ok"}

    watch, _ = started(monkeypatch, Check(("slow",), hanging, 0))

    assert watch.state() == {"slow": "unknown"}
    hang.set()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"database": "ok", "models": "loading"}, True),
        ({"database": "unknown", "models": "unknown"}, True),
        ({"database": "ok", "models": "ok"}, False),
        ({"database": "unavailable", "migrations": "unknown", "models": "loading"}, False),
        ({"database": "stale", "models": "ok"}, False),
    ],
)
def test_a_worker_starts_while_nothing_has_failed(state: dict[str, str], expected: bool) -> None:
    assert monitor.is_starting(state) is expected
