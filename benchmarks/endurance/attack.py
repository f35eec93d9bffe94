"""Callers that are a nuisance, in a process of their own: `python -m benchmarks.endurance.attack`.

Reads one JSON object from standard input: the port, the token, and for each model its id, the row,
and how many callers ask about it. Runs until SIGTERM, then prints how often each status came.
"""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.harness.client import Client
from benchmarks.harness.environments import PROJECT
from benchmarks.traffic.asking import Askers
from benchmarks.traffic.clients import Event


@dataclass(frozen=True, slots=True)
class Nuisance:
    """`count` callers that ask a model about one row again and again."""

    model_id: int
    row: Sequence[float]
    count: int
    pause_seconds: float


@contextmanager
def attack(
    port: int, headers: Mapping[str, str], nuisances: Sequence[Nuisance], statuses: Counter[str]
) -> Iterator[None]:
    """The attack while the `with` block runs; at its end, `statuses` has what the callers got."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endurance.attack"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    request = {
        "port": port,
        "headers": dict(headers),
        "nuisances": [asdict(nuisance) for nuisance in nuisances],
    }
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    try:
        yield
    finally:
        process.terminate()
        output, _ = process.communicate()
        statuses.update(json.loads(output or "{}"))


def main() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    request = json.loads(sys.stdin.readline())
    connect = partial(Client, request["port"], request["headers"], timeout=45)
    events: list[Event] = []
    for nuisance in request["nuisances"]:
        Askers(
            connect,
            events,
            model_id=nuisance["model_id"],
            row=nuisance["row"],
            count=nuisance["count"],
            pause_seconds=nuisance["pause_seconds"],
        ).start()
    stopped.wait()
    print(json.dumps(Counter(str(event.status or "none") for event in events)))


if __name__ == "__main__":
    main()
