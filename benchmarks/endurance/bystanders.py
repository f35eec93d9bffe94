"""`python -m benchmarks bystanders`: what the callers of good models notice of everybody else.

200 slow anonymous clients, a hung model that is asked 64 times at once, and a client that repeats a
row which hangs or kills whatever scores it, all together, in turn with calm periods. The latency of
another model's callers under attack is compared with that of the calm period before it.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.chaos.bad_inputs import ENDLESS, POISON
from benchmarks.chaos.system import SystemUnderTest, system_under_test
from benchmarks.endurance.attack import Nuisance, attack
from benchmarks.endurance.soak import latency_ms
from benchmarks.harness import records
from benchmarks.options import add_integer, add_json, add_system
from benchmarks.report import Target, format_figure, median
from benchmarks.traffic import health
from benchmarks.traffic.clients import Event, Traffic
from benchmarks.traffic.health import HealthProbes
from benchmarks.traffic.kinds import ALIAS, PREDICT
from benchmarks.traffic.ledger import balance
from benchmarks.traffic.slow_clients import slow_clients
from benchmarks.traffic.stand_in import BAD_INPUT

N_SLOW_CLIENTS = 200
N_HUNG_CALLERS = 64
SETTLE_SECONDS = 2.0
MAX_RATIO = 1.5
MAX_HEALTH_MS = 100
# Both with one row a request: their latencies are comparable.
MIX = [PREDICT, ALIAS] * 4

# The begin and end of a period, in monotonic seconds.
Window = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Period:
    """A calm period or an attack: the latency of good callers, the health, and failures."""

    p50_ms: float | None
    p99_ms: float | None
    health_p99_ms: float
    health_worst_ms: float
    failed: int
    requests: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 3, "calm periods, each followed by an attack")
    add_integer(parser, "--seconds", 20, "length of a period")
    add_integer(parser, "--rate", 80, "requests a second of the good callers")
    add_system(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    windows: list[Window] = []
    statuses: Counter[str] = Counter()
    with (
        system_under_test(
            database=options.database,
            checkout=options.checkout.resolve(),
            workers=options.workers,
        ) as system,
        HealthProbes(system.port) as probes,
    ):
        last_id = records.last_id(system.database_url)
        nuisances = _nuisances(system)
        with Traffic(system.subject(), rate=options.rate, mix=MIX) as traffic:
            for number in range(1, options.rounds + 1):
                windows.append(_wait(options.seconds))
                with (
                    slow_clients(system.port, count=N_SLOW_CLIENTS, behavior="drip"),
                    attack(system.port, system.installation.headers, nuisances, statuses),
                ):
                    windows.append(_wait(options.seconds))
                print(f"round {number} of {options.rounds} done", file=sys.stderr, flush=True)
        events = traffic.events
        periods = [_period(events, probes, window) for window in windows]
        found = balance(system.database_url, last_id, events)
    print(f"{found.acknowledged:,} rows acknowledged, {found.lost} lost, {found.mixed} mixed")
    print(f"the attackers got: {dict(statuses)}\n")
    return _report(periods[::2], periods[1::2], options) or int(not found.is_right)


def _nuisances(system: SystemUnderTest) -> list[Nuisance]:
    """A file that a service refuses is replaced by one that hangs."""
    is_refused = "poison" in system.refused_models
    name, row = ("endless", (1, 1, 1, ENDLESS)) if is_refused else ("poison", (POISON, 1, 1, 1))
    return [
        Nuisance(system.model_id("hangs"), (BAD_INPUT, 1, 1, 1), N_HUNG_CALLERS, 0.5),
        Nuisance(system.model_id(name), row, 1, 0.2),
    ]


def _wait(seconds: float) -> Window:
    # What began in the period before must not count here.
    time.sleep(SETTLE_SECONDS)
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


def _period(events: Sequence[Event], probes: HealthProbes, window: Window) -> Period:
    """By the time at which requests were sent: some are answered after the period."""
    begin, end = window
    sent = [event for event in events if begin <= event.sent_at < end]
    live = health.summarize(probes.between(begin, end), begin, end)
    return Period(
        latency_ms(sent, begin, end, 50),
        latency_ms(sent, begin, end, 99),
        live.p99_ms,
        live.worst_ms,
        sum(not event.has_succeeded for event in sent),
        len(sent),
    )


def _report(calm: list[Period], attacked: list[Period], options: argparse.Namespace) -> int:
    rows = []
    for number, pair in enumerate(zip(calm, attacked, strict=True), 1):
        for name, period in zip(("calm", "attack"), pair, strict=True):
            figures = (period.p50_ms, period.p99_ms, period.health_p99_ms, period.health_worst_ms)
            counts = (period.requests, period.failed)
            rows.append([f"{number} {name}", *map(format_figure, figures), *map(str, counts)])
    head = ["period", "p50 ms", "p99 ms", "health p99 ms", "worst ms", "requests", "failed"]
    print(report.table(head, rows))
    ratios = (
        after.p99_ms / before.p99_ms
        for before, after in zip(calm, attacked, strict=True)
        if before.p99_ms and after.p99_ms
    )
    worst = max(period.health_worst_ms for period in attacked)
    failed = sum(period.failed for period in attacked)
    targets = [
        Target("p99 under attack against before, median", MAX_RATIO, "at most", median(ratios)),
        Target("health under attack, worst ms", MAX_HEALTH_MS, "at most", worst),
        Target("requests of good callers that failed", 0, "at most", failed),
    ]
    print(f"\n{report.targets_table(targets)}")
    raw = {
        "calm": [asdict(period) for period in calm],
        "attacked": [asdict(period) for period in attacked],
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, raw)
    return int(not all(target.is_met for target in targets))
