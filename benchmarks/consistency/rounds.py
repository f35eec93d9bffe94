"""What the checks of deactivations and revocations share: the service, their rounds, the report."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.harness import postgresql, service
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.service import RunningService

LOAD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """Counts of requests by when they were sent and the status of their response."""

    number: int
    predicted_before: int
    refused_after: int
    predicted_after: int
    other: int

    @property
    def is_good(self) -> bool:
        return not self.predicted_after and not self.other and self.refused_after > 0


@contextmanager
def running_service(
    database_name: str, model: TrainedModel, *, workers: int
) -> Iterator[RunningService]:
    """Serve the model from a new database, which is dropped after a run without errors."""
    with postgresql.server() as database:
        database.recreate(database_name)
        with (
            service.temporary(database.database_url(database_name), model) as installation,
            installation.server(workers=workers) as running,
        ):
            yield running
        database.drop(database_name)


def print_rounds(head: Sequence[str], rounds: Sequence[Round], what: str) -> bool:
    """Print the counts; whether every round is good."""
    print(report.table(head, [[str(value) for value in asdict(row).values()] for row in rounds]))
    bad = sum(not result.is_good for result in rounds)
    print(f"\n{len(rounds)} {what}, {bad} bad")
    return not bad
