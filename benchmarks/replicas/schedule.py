"""What happens to the cluster, and when."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from benchmarks.replicas.cluster import Cluster

KILL_SECONDS = 20.0
# As parts of the run.
RESTARTS_AT = (0.3, 0.7)
STORE_DOWN_AT = 0.45
STORE_DOWN_SECONDS = 60.0
READY_SECONDS = 60.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Action:
    at_seconds: float
    name: str
    run: Callable[[], None]


@dataclass(slots=True)
class Log:
    """What was done, and for how long each killed replica was not ready."""

    done: list[str] = field(default_factory=list)
    recovery_seconds: list[float] = field(default_factory=list)


def actions(cluster: Cluster, log: Log, seconds: float) -> list[Action]:
    """Every action of a run of that length, in the order of their times."""
    planned = [*_kills(cluster, log, seconds), *_restarts(cluster, seconds)]
    down_seconds = min(STORE_DOWN_SECONDS, seconds / 5)
    down_at = STORE_DOWN_AT * seconds
    planned += [
        Action(down_at, "the object storage answers nothing", cluster.store.pause),
        Action(down_at + down_seconds, "the object storage answers again", cluster.store.resume),
    ]
    return sorted(planned, key=lambda action: action.at_seconds)


def run(planned: list[Action], log: Log, seconds: float) -> None:
    """Carry the actions out, each when it is due, until the time is over."""
    began_at = time.monotonic()
    for action in planned:
        time.sleep(max(0.0, began_at + action.at_seconds - time.monotonic()))
        action.run()
        elapsed = time.monotonic() - began_at
        log.done.append(f"{elapsed:5.0f} s: {action.name}")
        print(log.done[-1], flush=True)
    time.sleep(max(0.0, began_at + seconds - time.monotonic()))


def _kills(cluster: Cluster, log: Log, seconds: float) -> Iterator[Action]:
    n = len(cluster.replicas)
    for number in range(int(seconds / KILL_SECONDS)):
        yield Action(
            (number + 0.5) * KILL_SECONDS,
            f"replica {number % n + 1} is killed",
            partial(_kill, cluster, log, number % n),
        )


def _kill(cluster: Cluster, log: Log, index: int) -> None:
    replica = cluster.replicas[index]
    # The whole session at once: parent, workers and the process of the health port.
    replica.server.kill()
    killed_at = time.monotonic()

    def watch() -> None:
        while time.monotonic() - killed_at < READY_SECONDS:
            time.sleep(POLL_SECONDS)
            if replica.is_ready():
                log.recovery_seconds.append(time.monotonic() - killed_at)
                return

    threading.Thread(target=watch, daemon=True).start()


def _restarts(cluster: Cluster, seconds: float) -> Iterator[Action]:
    for part, mode in zip(RESTARTS_AT, ("fast", "immediate"), strict=True):
        yield Action(
            part * seconds,
            f"PostgreSQL is restarted ({mode})",
            partial(cluster.database.control, "restart", mode),
        )
