"""A short session of `python -m benchmarks chaos`: what must hold on a busy machine, too.

Nothing here depends on speed, but for the minute in which a service must recover.
"""

from collections.abc import Iterator

import pytest

from benchmarks.chaos.catalogue import FAULTS
from benchmarks.chaos.phases import Watch, run_phase
from benchmarks.chaos.system import SystemUnderTest, system_under_test
from benchmarks.traffic.health import HealthProbes

pytestmark = [pytest.mark.slow, pytest.mark.any_database]
SECONDS = 3
RATE = 20


@pytest.fixture(scope="module")
def system() -> Iterator[SystemUnderTest]:
    with system_under_test(database="postgresql", bad_models=["hangs", "drips"]) as ready:
        yield ready


@pytest.fixture(scope="module")
def watch(system: SystemUnderTest) -> Iterator[Watch]:
    with HealthProbes(system.health_port) as health, HealthProbes(system.port) as workers:
        yield Watch(health, workers)


@pytest.mark.parametrize(
    "names",
    [
        ["worker-killed"],
        ["parent-killed"],
        ["connections-cut"],
        ["database-restarted"],
        ["database-stopped"],
        ["slow-bodies"],
        ["hung-remote"],
        ["dripping-remote", "worker-killed"],
        ["parent-killed", "database-stopped"],
    ],
    ids="+".join,
)
def test_nothing_is_lost_and_the_service_recovers(
    system: SystemUnderTest, watch: Watch, names: list[str]
) -> None:
    faults = [FAULTS[name](system) for name in names]

    outcome = run_phase(system, watch, faults, seconds=SECONDS, rate=RATE)

    assert outcome.has_happened
    assert outcome.balance is not None
    assert outcome.balance.acknowledged > 0
    assert not outcome.violations, outcome.examples
