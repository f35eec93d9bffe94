"""The checks, made every second or two by threads of each worker, so that a probe waits for none.

A check that hangs, such as on a file system of the network, is reported as stale; the others are
not affected.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson
from django.db import connections

from mlapi.health.database import UNMANAGED, DatabaseProbe
from mlapi.health.storage import CACHED, artifact_state, disk_state
from mlapi.metrics import observe_pool
from registry.loading.warming import unloaded_live_versions

PUBLISH_SECONDS = 1
# Longer than the timeouts of one round of checks.
STALE_SECONDS = 8
UNKNOWN = "unknown"
STALE = "stale"
# `few ahead` is a warning: the worker creates partitions, and rows still fit. So is `unmanaged`:
# somebody has made partitions of another kind.
GOOD_STATES = frozenset({"ok", "applied", CACHED, "few ahead", UNMANAGED})
LOADING = "loading"
# Those of a worker that has just started: nothing is wrong.
STARTING_STATES = frozenset({UNKNOWN, LOADING})

State = Mapping[str, str]

logger = logging.getLogger(__name__)


class Check(NamedTuple):
    """Something that tells the states of `names`, and may take long."""

    names: tuple[str, ...]
    run: Callable[[], State]
    interval_seconds: float


def model_state() -> State:
    """`models`: ok, or loading while versions that aliases use are not in memory yet.

    One that cannot be loaded is not waited for: a replica would stay unready for its sake.
    """
    return {"models": LOADING if unloaded_live_versions() else "ok"}


class Monitor:
    """The latest state of each check, from threads that `start` begins."""

    def __init__(self) -> None:
        self._database = DatabaseProbe()
        self._checks = (
            Check(("database", "migrations", "partitions"), self._database.state, 2),
            # In a thread of its own, since object storage may take seconds to answer.
            Check(("artifacts",), self._artifacts, 1),
            Check(("disk",), lambda: {"disk": disk_state()}, 1),
            Check(("models",), model_state, 1),
        )
        self._states: dict[str, str] = {}
        self._checked_at: dict[str, float] = {}
        self._is_started = False

    def start(self, publish: Callable[[bytes], None]) -> None:
        """Check from now on, and hand each new state to `publish` as JSON."""
        self._is_started = True
        for check in self._checks:
            name = f"check-{check.names[0]}"
            threading.Thread(target=self._repeat, args=[check], name=name, daemon=True).start()
        threading.Thread(
            target=self._publish, args=[publish], name="publish-health", daemon=True
        ).start()

    def state(self) -> State:
        """Each check's state: at once if `start` was called, else after checking now."""
        if self._is_started:
            return self._latest()
        # Nothing remembered from an earlier time.
        checks = Monitor()._checks
        return {name: state for check in checks for name, state in check.run().items()}

    def _artifacts(self) -> State:
        return {"artifacts": artifact_state(self._database.live_versions)}

    def _latest(self) -> State:
        oldest = time.monotonic() - STALE_SECONDS
        return {
            name: STALE
            if (checked_at := self._checked_at.get(name)) is not None and checked_at < oldest
            else self._states.get(name, UNKNOWN)
            for check in self._checks
            for name in check.names
        }

    def _repeat(self, check: Check) -> None:
        while True:
            try:
                states = check.run()
            except Exception:
                # Reported as stale if it goes on.
                logger.exception("The check of %s failed", " and ".join(check.names))
                connections.close_all()
            else:
                self._states.update(states)
                self._checked_at.update(dict.fromkeys(states, time.monotonic()))
            time.sleep(check.interval_seconds)

    def _publish(self, publish: Callable[[bytes], None]) -> None:
        previous: State = {}
        while True:
            observe_pool()
            state = self._latest()
            report = {"ready": is_ready(state), "starting": is_starting(state), "checks": state}
            publish(orjson.dumps(report))
            if state != previous:
                _log_change(state)
            previous = state
            time.sleep(PUBLISH_SECONDS)


def is_ready(state: State) -> bool:
    return GOOD_STATES.issuperset(state.values())


def is_starting(state: State) -> bool:
    """Whether no check has failed, but some are not passed yet."""
    return not is_ready(state) and (GOOD_STATES | STARTING_STATES).issuperset(state.values())


def _log_change(state: State) -> None:
    failed = {name: value for name, value in state.items() if value not in GOOD_STATES}
    if not failed:
        logger.info("Ready")
    elif UNKNOWN not in failed.values():
        text = ", ".join(f"{name} {value}" for name, value in failed.items())
        logger.warning("Not ready: %s", text)


_monitor = Monitor()
start = _monitor.start
state = _monitor.state
