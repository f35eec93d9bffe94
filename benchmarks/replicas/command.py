"""`python -m benchmarks replicas`: three replicas behind HAProxy, PgBouncer and an object storage.

Under steady load, a replica is killed every 20 seconds, PostgreSQL is restarted twice, the object
storage is down for a minute, an alias moves every few seconds and keys are made and revoked. At the
end, every acknowledged row must be recorded as it was acknowledged, every answer must have come
from a version that the alias meant, nobody may have seen rows of others, and no key may have worked
after its revocation. Otherwise, the exit status is 1.
"""

import argparse
import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.chaos.phases import count_statuses
from benchmarks.harness import records
from benchmarks.options import add_integer, add_json
from benchmarks.replicas import network, schedule
from benchmarks.replicas.cluster import Cluster, cluster
from benchmarks.replicas.moves import AliasCallers, Mover, wrong_versions
from benchmarks.replicas.strangers import PAUSE_SECONDS, Background, KeyUser, Stranger
from benchmarks.report import Target
from benchmarks.traffic.clients import UNANSWERED, Event, Traffic
from benchmarks.traffic.ledger import balance

ALIAS_THREADS = 4
ALIAS_PAUSE_SECONDS = 0.1
CALM_SECONDS = 5.0
# An answer that HAProxy gives for a replica that was killed in the middle of a request: as with no
# response at all, the row may have been recorded.
BAD_GATEWAY = 502
ALLOWED = (UNANSWERED, 200, 201, BAD_GATEWAY, 503, 504)


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of a run; those from `lost` to `unexpected` must be 0."""

    requests: int
    statuses: dict[str, int]
    acknowledged: int
    answers_by_alias: int
    lost: int
    mixed: int
    doubled: int
    wrong_versions: int
    others_rows: int
    late_keys: int
    unexpected: int
    moves: int
    reads_by_the_stranger: int
    keys: int
    answers_to_keys: int
    kills: int
    recovery_seconds: list[float]
    examples: list[str]

    def targets(self) -> list[Target]:
        counts = {
            "acknowledged rows missing": self.lost,
            "rows that hold another request's input or answer": self.mixed,
            "inputs recorded twice": self.doubled,
            "answers of a wrong version": self.wrong_versions,
            "rows of others that a user saw": self.others_rows,
            "answers after a key's revocation": self.late_keys,
            "unexpected answers": self.unexpected,
        }
        zeros = [Target(name, 0, "at most", count) for name, count in counts.items()]
        recovered = Target(
            "replicas back after a kill", self.kills, "at least", len(self.recovery_seconds)
        )
        return [*zeros, recovered]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--minutes", 10, "length of the run")
    add_integer(parser, "--replicas", 3, "replicas")
    add_integer(parser, "--workers", 1, "processes of each")
    add_integer(parser, "--rate", 40, "requests a second, beside those by alias")
    parser.add_argument("--haproxy", type=Path, metavar="PATH", help="HAProxy (of the PATH)")
    parser.add_argument(
        "--pgbouncer", type=Path, metavar="PATH", help="PgBouncer 1.21 or later (of the PATH)"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    haproxy = network.program("haproxy", options.haproxy)
    pgbouncer = network.program("pgbouncer", options.pgbouncer)
    seconds = 60.0 * options.minutes
    with cluster(
        n_replicas=options.replicas, workers=options.workers, haproxy=haproxy, pgbouncer=pgbouncer
    ) as found:
        log = schedule.Log()
        planned = schedule.actions(found, log, seconds)
        result = _observe(found, planned, log, seconds, options.rate)
    targets = result.targets()
    _print(result, targets)
    report.write_json(
        options.json,
        {**asdict(result), "actions": log.done, "targets": [t.as_json() for t in targets]},
    )
    return int(not all(target.is_met for target in targets))


def _observe(
    found: Cluster,
    planned: list[schedule.Action],
    log: schedule.Log,
    seconds: float,
    rate: float,
) -> Result:
    last_id = records.last_id(found.database_url)
    stranger, keys = Stranger(found), KeyUser(found)
    mover = Mover(found, found.version_ids())
    callers = AliasCallers(found, threads=ALIAS_THREADS, pause_seconds=ALIAS_PAUSE_SECONDS)
    with contextlib.ExitStack() as stack, callers, mover:
        traffic = stack.enter_context(Traffic(found.subject(), rate=rate))
        for step in (stranger.step, keys.step):
            stack.enter_context(Background(step, PAUSE_SECONDS))
        schedule.run(planned, log, seconds)
        time.sleep(CALM_SECONDS)
    recorded = balance(found.database_url, last_id, traffic.events)
    unexpected = [event for event in traffic.events if not _is_allowed(event)]
    return Result(
        requests=len(traffic.events) + len(callers.answers),
        statuses=count_statuses(traffic.events),
        acknowledged=recorded.acknowledged,
        answers_by_alias=len(callers.answers),
        lost=recorded.lost,
        mixed=recorded.mixed,
        doubled=recorded.doubled,
        wrong_versions=wrong_versions(mover.moves, callers.answers),
        others_rows=stranger.sightings.others_rows,
        late_keys=keys.found.predicted_after,
        unexpected=len(unexpected),
        moves=len(mover.moves) - 1,
        reads_by_the_stranger=stranger.sightings.reads,
        keys=keys.found.rounds,
        answers_to_keys=keys.found.predicted_before,
        kills=sum("killed" in action.name for action in planned),
        recovery_seconds=log.recovery_seconds,
        examples=[*_texts(unexpected), *stranger.sightings.examples[:5]],
    )


def _texts(events: list[Event]) -> list[str]:
    """Some of the events in words, each kind once."""
    return sorted({f"{event.kind}: {event.status} {event.detail}" for event in events})[:5]


def _is_allowed(event: Event) -> bool:
    if event.status == 503:
        return event.has_retry_after
    return event.status in ALLOWED


def _print(result: Result, targets: list[Target]) -> None:
    figures = {
        "requests": f"{result.requests:,}",
        "statuses (0: no response)": str(result.statuses),
        "acknowledged rows": f"{result.acknowledged:,}",
        "answers by alias": f"{result.answers_by_alias:,}",
        "moves of the alias": f"{result.moves:,}",
        "reads by another user": f"{result.reads_by_the_stranger:,}",
        "keys made and revoked": f"{result.keys:,}",
        "predictions with them before": f"{result.answers_to_keys:,}",
        "kills": f"{result.kills:,}",
        "ready again after, s (median, longest)": _recovery(result.recovery_seconds),
    }
    print(f"\n{report.table(['figure', ''], [list(row) for row in figures.items()])}\n")
    print(report.targets_table(targets))
    for example in result.examples:
        print(f"- {example}")


def _recovery(seconds: list[float]) -> str:
    if not seconds:
        return report.MISSING
    median = report.median(seconds)
    return f"{report.format_figure(median)}, {report.format_figure(max(seconds))}"
