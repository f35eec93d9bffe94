"""`python -m benchmarks durability`: a prediction that was acknowledged with 201 is never lost.

The whole server is killed with SIGKILL under load, repeatedly, on PostgreSQL and on SQLite. After
each kill, every acknowledged id must be in the database with its own input. With --restart, the
embedded PostgreSQL is restarted under load instead while the server keeps running.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.consistency.watchers import Event, Watchers
from benchmarks.harness import models, postgresql, records, service
from benchmarks.harness.service import Installation
from benchmarks.options import add_integer, add_json
from benchmarks.report import format_figure

DATABASE = "benchmark_durability"
RECOVERY_SECONDS = 60


@dataclass(slots=True)
class Round:
    """The outcome of one kill or restart.

    `lost` counts acknowledged rows that are missing, `mixed` those that hold the input of another
    request, `forbidden` responses other than a 201, a 503 with Retry-After and, after a kill, none.
    """

    database: str
    number: int
    acknowledged: int
    recorded: int
    lost: int
    mixed: int
    statuses: dict[str, int]
    forbidden: int = 0
    recovery_seconds: float | None = None

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.mixed or self.forbidden) and self.acknowledged > 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rounds", 20, "kills or restarts")
    add_integer(parser, "--workers", 2, "processes of the server")
    add_integer(parser, "--threads", 16, "concurrent clients")
    parser.add_argument(
        "--databases",
        nargs="+",
        choices=["postgresql", "sqlite"],
        default=["postgresql", "sqlite"],
    )
    parser.add_argument(
        "--restart", action="store_true", help="restart the embedded PostgreSQL under load instead"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    rounds: list[Round] = []
    with postgresql.server(embedded=options.restart) as server:
        for name in ["postgresql"] if options.restart else options.databases:
            url = "sqlite"
            if name == "postgresql":
                server.recreate(DATABASE)
                url = server.database_url(DATABASE)
            with service.temporary(url, model) as installation:
                if options.restart:
                    rounds += _restart_database(installation, model.rows[0], server, options)
                else:
                    rounds += _kill_service(installation, model.rows[0], name, options)
        if "postgresql" in options.databases or options.restart:
            server.drop(DATABASE)
    return _report(options, rounds)


def _kill_service(
    installation: Installation,
    row: Sequence[float],
    database: str,
    options: argparse.Namespace,
) -> list[Round]:
    rounds = []
    for number in range(1, options.rounds + 1):
        before = records.count(installation.database_url)
        with installation.server(workers=options.workers) as running:
            model_id = running.model_id("iris")
            with Watchers(running, model_id, row, threads=options.threads) as watchers:
                # A random moment: not always the same point in the life of a connection or a batch.
                time.sleep(random.uniform(1, 3))  # noqa: S311
                running.server.kill()
        result = _check(installation, watchers, database, number, before)
        # A kill may leave requests without a response.
        result.forbidden = sum(not _is_allowed(e) and e.status != 0 for e in watchers.events)
        rounds.append(result)
        _print_round(result)
    return rounds


def _restart_database(
    installation: Installation,
    row: Sequence[float],
    database: postgresql.PostgreSQL,
    options: argparse.Namespace,
) -> list[Round]:
    rounds = []
    with installation.server(workers=options.workers) as running:
        model_id = running.model_id("iris")
        for number in range(1, options.rounds + 1):
            mode = "immediate" if number % 2 else "fast"
            before = records.count(installation.database_url)
            with Watchers(running, model_id, row, threads=options.threads) as watchers:
                time.sleep(2)
                database.control("restart", mode)
                restarted_at = time.monotonic()
                recovery_seconds = _wait_for_recovery(watchers, restarted_at)
                time.sleep(2)
            result = _check(installation, watchers, f"postgresql, {mode}", number, before)
            result.forbidden = sum(not _is_allowed(event) for event in watchers.events)
            result.recovery_seconds = recovery_seconds
            rounds.append(result)
            _print_round(result)
    return rounds


def _wait_for_recovery(watchers: Watchers, restarted_at: float) -> float | None:
    """Seconds from the database's return to the first 201 for a request sent after it."""
    while time.monotonic() - restarted_at < RECOVERY_SECONDS:
        successes = [
            event.responded_at
            for event in watchers.events
            if event.status == 201 and event.sent_at >= restarted_at
        ]
        if successes:
            return min(successes) - restarted_at
        time.sleep(0.02)
    return None


def _is_allowed(event: Event) -> bool:
    return event.status == 201 or (event.status == 503 and event.has_retry_after)


def _check(
    installation: Installation, watchers: Watchers, database: str, number: int, before: int
) -> Round:
    acknowledged = watchers.acknowledged()
    recorded = records.inputs(installation.database_url, acknowledged)
    statuses = watchers.count_statuses()
    return Round(
        database=database,
        number=number,
        acknowledged=statuses[201],
        recorded=records.count(installation.database_url) - before,
        # An id that was acknowledged twice is a loss too.
        lost=statuses[201] - len(recorded),
        mixed=sum(recorded[i] != {"features": acknowledged[i]} for i in recorded),
        statuses={str(status or "none"): n for status, n in sorted(statuses.items())},
    )


def _print_round(result: Round) -> None:
    verdict = "ok" if result.is_good else "BAD"
    print(f"{result.database} {result.number}: {verdict} {asdict(result)}", flush=True)


def _report(options: argparse.Namespace, rounds: list[Round]) -> int:
    rows = []
    for result in rounds:
        statuses = ", ".join(f"{status}: {n}" for status, n in result.statuses.items())
        counts = (result.number, result.acknowledged, result.recorded)
        failures = (result.lost, result.mixed, result.forbidden)
        recovery = format_figure(result.recovery_seconds)
        rows.append([result.database, *map(str, counts + failures), recovery, statuses])
    head = ["database", "round", "acknowledged", "recorded", "lost", "mixed", "forbidden"]
    print(f"\n{report.table([*head, 's to recovery', 'statuses (none: no response)'], rows)}")
    acknowledged, lost, mixed = (
        sum(getattr(result, name) for result in rounds)
        for name in ("acknowledged", "lost", "mixed")
    )
    print(f"\n{acknowledged:,} acknowledged, {lost} lost, {mixed} mixed")
    report.write_json(options.json, {"rounds": [asdict(result) for result in rounds]})
    if options.restart and any(result.recovery_seconds is None for result in rounds):
        return 1
    return int(not all(result.is_good for result in rounds))
