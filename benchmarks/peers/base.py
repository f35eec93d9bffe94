"""What a peer is: a name, and how to get it to serve a trained model on a free port."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.environments import Environment
from benchmarks.harness.load import Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.processes import Server

IRIS, WINE = "iris", "wine"


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run lends its peers: a folder of its own, which ends with it, and PostgreSQL."""

    folder: Path
    postgresql: PostgreSQL

    def workshop(self, name: str) -> Path:
        """A folder below the run's, made now."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that is not started yet, and how to ask it.

    `is_ready` asks the peer's own readiness endpoint. `status` is what every answer must have.
    `recorded` counts the rows in the database, past the API; None where nothing is recorded.
    """

    server: Server
    is_ready: Callable[[], bool]
    target: Target
    status: int = 200
    recorded: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """`prepare` does once what a run needs; what it returns makes a launch each time."""

    name: str
    about: str
    environment: Environment
    prepare: Callable[[TrainedModel, Bench], Callable[[], Launch]]
    models: tuple[str, ...] = (IRIS, WINE)
