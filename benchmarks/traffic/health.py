"""Health as a supervisor sees it, probed from a process of its own.

`python -m benchmarks.traffic.health PORT` writes a line of JSON for each probe. A thread of the
load generator would measure its own wait for the interpreter lock instead of the service.
"""

import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.harness.environments import PROJECT
from benchmarks.harness.processes import set_session_priority

LIVE, READY = "/health/live", "/health/ready"
LIVE_PERIOD_SECONDS = 0.05
READY_PERIOD_SECONDS = 0.5
TIMEOUT_SECONDS = 5
# The probes measure the service: they must not wait for a processor behind its load.
PRIORITY = -10


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe, in monotonic seconds; `status` is 0 if the connection was refused or cut, and -1
    if no response came within TIMEOUT_SECONDS.
    """

    path: str
    sent_at: float
    ms: float
    status: int


class HealthProbes:
    """Probes of one port while the `with` block runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._probes: list[Probe] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self) -> "HealthProbes":
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "benchmarks.traffic.health", str(self._port)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        set_session_priority(self._process.pid, PRIORITY)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def between(self, begin: float, end: float, path: str = LIVE) -> list[Probe]:
        return [p for p in list(self._probes) if p.path == path and begin <= p.sent_at <= end]

    def _collect(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._probes.append(Probe(**json.loads(line)))


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of a period say.

    `p99_ms` is of answers alone; `worst_ms` counts a probe that was given up, too. The longest time
    without an answer is `silent_seconds`.
    """

    probes: int
    p99_ms: float
    worst_ms: float
    timed_out: int
    refused: int
    silent_seconds: float


def summarize(probes: Sequence[Probe], begin: float, end: float) -> Health:
    """The health between two times."""
    answered = [probe for probe in probes if probe.status > 0]
    milliseconds = sorted(probe.ms for probe in answered)
    times = [begin, *sorted(probe.sent_at + probe.ms / 1000 for probe in answered), end]
    return Health(
        probes=len(probes),
        p99_ms=percentile(milliseconds, 99),
        worst_ms=max((probe.ms for probe in probes if probe.status), default=0.0),
        timed_out=sum(probe.status < 0 for probe in probes),
        refused=sum(probe.status == 0 for probe in probes),
        silent_seconds=max(later - sooner for sooner, later in itertools.pairwise(times)),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """A value of `ordered` that `percent` of the values do not exceed; 0 without values."""
    if not ordered:
        return 0.0
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def main(port: int) -> None:
    with contextlib.suppress(OSError):
        os.nice(PRIORITY)
    targets = ((LIVE, LIVE_PERIOD_SECONDS), (READY, READY_PERIOD_SECONDS))
    threads = [threading.Thread(target=_probe_for_ever, args=[port, *target]) for target in targets]
    for thread in threads:
        thread.start()


def _probe_for_ever(port: int, path: str, period_seconds: float) -> None:
    """Each probe has a connection of its own, as those of an orchestrator have."""
    while True:
        began = time.monotonic()
        # In a thread, so that a probe that hangs does not delay the next one.
        threading.Thread(target=_print_probe, args=[port, path], daemon=True).start()
        time.sleep(max(0.0, began + period_seconds - time.monotonic()))


def _print_probe(port: int, path: str) -> None:
    sent_at = time.monotonic()
    status = _status(port, path)
    ms = (time.monotonic() - sent_at) * 1000
    probe = {"path": path, "sent_at": sent_at, "ms": round(ms, 2), "status": status}
    # One write: lines of several threads must not mix.
    os.write(sys.stdout.fileno(), (json.dumps(probe) + "\n").encode())


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return int(connection.getresponse().status)
    except TimeoutError:
        return -1
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def readiness(probes: Iterable[Probe]) -> set[int]:
    """The statuses that readiness had."""
    return {probe.status for probe in probes if probe.status > 0}


if __name__ == "__main__":
    main(int(sys.argv[1]))
