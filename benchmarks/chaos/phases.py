"""One fault, or two together, under traffic: what happened, and what of it must not happen."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from benchmarks.chaos.faults.base import Fault, NotPossible, Refused
from benchmarks.chaos.system import (
    PREDICTION_TIMEOUT_SECONDS,
    STATEMENT_TIMEOUT_SECONDS,
    SystemUnderTest,
)
from benchmarks.harness import records
from benchmarks.traffic import health
from benchmarks.traffic.clients import UNANSWERED, Event, Traffic
from benchmarks.traffic.health import Health, HealthProbes
from benchmarks.traffic.ledger import Balance, balance

CALM_SECONDS = 2.0
TICK_SECONDS = 0.25
RECOVERY_SECONDS = 60.0
# From a request to its answer: a prediction's deadline, and the statement that records its failure.
ANSWER_SECONDS = PREDICTION_TIMEOUT_SECONDS + STATEMENT_TIMEOUT_SECONDS + 1.0
HEALTH_MS = 100.0
# How long the health port may answer nothing: never for longer than a moment, but while the whole
# service is started again, when there is no process that could answer.
SILENT_SECONDS = 2.0
RESTART_SECONDS = 20.0
REFUSALS = (503, 504, 507)
# A failed prediction of a bad model.
FAILED = 422


@dataclass(slots=True)
class Outcome:
    """A phase in figures. `skipped` is the reason of a fault that was not possible, `refused` the
    service's answer if it refused what the fault needs.

    `health` and `was_unready` are of the port that is judged, `workers_health` of the workers' own.
    `violations` are wrong on any machine; `delays` may come from a machine that is too busy.
    """

    name: str
    skipped: str = ""
    refused: str = ""
    requests: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    balance: Balance | None = None
    longest_seconds: float = 0.0
    health: Health | None = None
    workers_health: Health | None = None
    was_unready: bool = False
    recovery_seconds: float | None = None
    violations: list[str] = field(default_factory=list)
    delays: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.violations and not self.delays

    @property
    def has_happened(self) -> bool:
        return not self.skipped and not self.refused

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "is_good": self.is_good}


@dataclass(frozen=True, slots=True)
class Watch:
    """Probes of the health port, and of the port on which the workers answer everything.

    Both are of the same port for a service that has no health port.
    """

    health: HealthProbes
    workers: HealthProbes


@dataclass(frozen=True, slots=True)
class Times:
    began_at: float
    ended_at: float
    recovered_at: float | None
    stopped_at: float


def run_phase(
    system: SystemUnderTest,
    watch: Watch,
    faults: Sequence[Fault],
    *,
    seconds: float,
    rate: float,
) -> Outcome:
    """Let the faults happen for some seconds under traffic, and judge the result."""
    outcome = Outcome(" + ".join(fault.name for fault in faults))
    prepared: list[Fault] = []
    try:
        for fault in faults:
            fault.prepare()
            prepared.append(fault)
    except (NotPossible, Refused) as error:
        if isinstance(error, Refused):
            outcome.refused = str(error)
        else:
            outcome.skipped = str(error)
        for fault in prepared:
            fault.restore()
        return outcome
    last_id = records.last_id(system.database_url)
    with Traffic(system.subject(), rate=rate) as traffic:
        seconds = max(seconds, *(fault.min_seconds for fault in faults))
        times = _disturb(watch, traffic, faults, seconds)
    for fault in faults:
        fault.restore()
    outcome.balance = balance(system.database_url, last_id, traffic.events)
    _judge(outcome, faults, traffic.events, watch, times)
    if times.recovered_at is None:
        system.service.restart()
    return outcome


def _disturb(watch: Watch, traffic: Traffic, faults: Sequence[Fault], seconds: float) -> Times:
    time.sleep(CALM_SECONDS)
    began_at = time.monotonic()
    for fault in faults:
        fault.begin()
    while (elapsed := time.monotonic() - began_at) < seconds:
        for fault in faults:
            fault.proceed(elapsed)
        time.sleep(TICK_SECONDS)
    for fault in reversed(faults):
        fault.end()
    ended_at = time.monotonic()
    recovered_at = None
    while recovered_at is None and time.monotonic() - ended_at < RECOVERY_SECONDS:
        time.sleep(TICK_SECONDS)
        recovered_at = _recovered_at(watch.workers, traffic, ended_at)
    time.sleep(CALM_SECONDS)
    return Times(began_at, ended_at, recovered_at, time.monotonic())


def _recovered_at(probes: HealthProbes, traffic: Traffic, ended_at: float) -> float | None:
    """When every kind of request had succeeded again, and the service was ready."""
    answered_at = traffic.recovered_at(ended_at)
    ready = probes.between(ended_at, time.monotonic(), health.READY)
    if answered_at is None or not ready or ready[-1].status != 200:
        return None
    first = next(probe for probe in ready if probe.status == 200)
    return max(answered_at, first.sent_at + first.ms / 1000)


def _judge(
    outcome: Outcome,
    faults: Sequence[Fault],
    events: Sequence[Event],
    watch: Watch,
    times: Times,
) -> None:
    own = [event for fault in faults for event in fault.events]
    outcome.requests = len(events) + len(own)
    outcome.statuses = count_statuses([*events, *own])
    outcome.longest_seconds = max((event.seconds for event in [*events, *own]), default=0.0)
    outcome.health = _health(watch.health, times)
    outcome.workers_health = _health(watch.workers, times)
    ready = watch.health.between(times.began_at, times.ended_at, health.READY)
    outcome.was_unready = any(probe.status != 200 for probe in ready)
    if times.recovered_at is not None:
        outcome.recovery_seconds = times.recovered_at - times.ended_at
    outcome.violations = [
        *_of_balance(outcome.balance),
        *_of_answers(outcome, faults, events, own),
        *_of_readiness(outcome, faults),
        *[violation for fault in faults for violation in fault.violations()],
    ]
    restarts = any(fault.effects.restarts_service for fault in faults)
    outcome.delays = [
        *_late_answers([*events, *own]),
        *health_delays(outcome.health, restarts=restarts),
    ]


def _health(probes: HealthProbes, times: Times) -> Health:
    live = probes.between(times.began_at, times.stopped_at)
    return health.summarize(live, times.began_at, times.stopped_at)


def _of_balance(found: Balance | None) -> list[str]:
    assert found is not None
    counts = {"lost": found.lost, "mixed": found.mixed, "recorded twice": found.doubled}
    return [f"{n} {name}" for name, n in counts.items() if n]


def _of_answers(
    outcome: Outcome, faults: Sequence[Fault], events: Sequence[Event], own: Sequence[Event]
) -> list[str]:
    violations = []
    cuts = any(fault.effects.cuts_requests for fault in faults)
    wrong = [event for event in events if not is_allowed(event, cuts=cuts)]
    # A bad model may fail on its rows, and some of its requests end with their worker.
    wrong += [event for event in own if event.status != FAILED and not is_allowed(event, cuts=cuts)]
    if wrong:
        violations.append(f"{len(wrong)} wrong answers")
        seen = {f"{event.kind}: {event.status} {event.detail}" for event in wrong}
        outcome.examples = sorted(seen)[:5]
    return violations


def is_allowed(event: Event, *, cuts: bool) -> bool:
    """Whether a caller of a good model may get this while something else is wrong."""
    if event.status == UNANSWERED:
        return cuts
    if event.status == 503:
        return event.has_retry_after
    return 200 <= event.status < 300 or event.status in REFUSALS


def _of_readiness(outcome: Outcome, faults: Sequence[Fault]) -> list[str]:
    violations = []
    if outcome.recovery_seconds is None:
        violations.append(f"no recovery within {RECOVERY_SECONDS:.0f} s")
    if any(fault.effects.is_unready for fault in faults) and not outcome.was_unready:
        violations.append("always ready")
    return violations


def _late_answers(events: Sequence[Event]) -> list[str]:
    late = [event for event in events if event.seconds > ANSWER_SECONDS]
    if not late:
        return []
    slowest = sorted(late, key=lambda event: -event.seconds)[:5]
    shown = ", ".join(f"{e.kind}: {e.status} after {e.seconds:.1f} s" for e in slowest)
    return [f"{len(late)} answered after {ANSWER_SECONDS:.0f} s ({shown})"]


def health_delays(found: Health, *, restarts: bool) -> list[str]:
    """What is wrong with the answers to probes; `restarts` while the service is started again."""
    delays = []
    if found.p99_ms > HEALTH_MS or found.timed_out:
        delays.append("health is slow")
    if found.refused and not restarts:
        delays.append(f"{found.refused} health probes were refused or cut")
    if found.silent_seconds > (RESTART_SECONDS if restarts else SILENT_SECONDS):
        delays.append(f"no health for {found.silent_seconds:.1f} s")
    return delays


def count_statuses(events: Iterable[Event]) -> dict[str, int]:
    counts = Counter(event.status for event in events)
    return {str(status or "none"): n for status, n in sorted(counts.items())}
