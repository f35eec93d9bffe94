"""A peer: a name, and how to make it serve a trained model on a free port."""

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
class Workspace:
    """What a run provides to its peers: a folder, deleted at its end, and PostgreSQL."""

    folder: Path
    postgresql: PostgreSQL

    def subfolder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that is not started yet, and how to load it.

    `is_ready` asks the peer's own readiness endpoint; `status` is the expected status of every
    response. `count_recorded` counts the rows in the database; None if the peer records nothing.
    """

    server: Server
    is_ready: Callable[[], bool]
    target: Target
    status: int = 200
    count_recorded: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """`prepare` is called once in a run; its result is called for a launch in each round."""

    name: str
    description: str
    environment: Environment
    prepare: Callable[[TrainedModel, Workspace], Callable[[], Launch]]
    models: tuple[str, ...] = (IRIS, WINE)
