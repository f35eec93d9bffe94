"""`python -m benchmarks durability`: nothing that was answered with 201 may ever be lost.

The whole server is killed with SIGKILL under load, again and again, on PostgreSQL and on SQLite;
after each kill every acknowledged id must be in the database with its own input. With --restart,
the embedded PostgreSQL is restarted under load instead, and the server left alone.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.consistency.watchers import Event, Watchers
from benchmarks.harness import models, postgresql, records, service
from benchmarks.harness.service import Service
from benchmarks.report import shown

DATABASE = "benchmark_durability"
RECOVERY_SECONDS = 60


@dataclass(slots=True)
class Round:
    """What came of one kill or restart. `lost` counts acknowledged rows that are not there,
    `mixed` those that hold another request's input."""

    where: str
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
    whole: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--rounds", default=20, help="kills, or restarts (20)", **whole)
    parser.add_argument("--workers", default=2, help="processes of the server (2)", **whole)
    parser.add_argument("--threads", default=16, help="clients at once (16)", **whole)
    parser.add_argument(
        "--databases",
        nargs="+",
        choices=["postgresql", "sqlite"],
        default=["postgresql", "sqlite"],
    )
    parser.add_argument(
        "--restart", action="store_true", help="restart the embedded PostgreSQL under load instead"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    model = models.load("iris")
    rounds: list[Round] = []
    with postgresql.server(embedded=options.restart) as database:
        for where in ["postgresql"] if options.restart else options.databases:
            url = "sqlite"
            if where == "postgresql":
                database.recreate(DATABASE)
                url = database.database_url(DATABASE)
            with service.temporary(url, model) as installed:
                if options.restart:
                    rounds += _restarts(installed, model.rows[0], database, options)
                else:
                    rounds += _kills(installed, model.rows[0], where, options)
        if "postgresql" in options.databases or options.restart:
            database.drop(DATABASE)
    return _report(options, rounds)


def _kills(
    installed: Service, row: Sequence[float], where: str, options: argparse.Namespace
) -> list[Round]:
    rounds = []
    for number in range(1, options.rounds + 1):
        before = records.count(installed.database_url)
        with installed.server(workers=options.workers) as running:
            model_id = running.model_id("iris")
            with Watchers(running, model_id, row, threads=options.threads) as watchers:
                # Not always at the same point of a connection's or a batch's life.
                time.sleep(random.uniform(1, 3))  # noqa: S311
                running.server.kill()
        result = _checked(installed, watchers, where, number, before)
        # The one thing that a kill may add is no answer at all.
        result.forbidden = sum(not _is_allowed(e) and e.status != 0 for e in watchers.events)
        rounds.append(result)
        _tell(result)
    return rounds


def _restarts(
    installed: Service,
    row: Sequence[float],
    database: postgresql.PostgreSQL,
    options: argparse.Namespace,
) -> list[Round]:
    rounds = []
    with installed.server(workers=options.workers) as running:
        model_id = running.model_id("iris")
        for number in range(1, options.rounds + 1):
            mode = "immediate" if number % 2 else "fast"
            before = records.count(installed.database_url)
            with Watchers(running, model_id, row, threads=options.threads) as watchers:
                time.sleep(2)
                database.control("restart", mode)
                back = time.monotonic()
                recovery_seconds = _recovery(watchers, back)
                time.sleep(2)
            result = _checked(installed, watchers, f"postgresql, {mode}", number, before)
            result.forbidden = sum(not _is_allowed(event) for event in watchers.events)
            result.recovery_seconds = recovery_seconds
            rounds.append(result)
            _tell(result)
    return rounds


def _recovery(watchers: Watchers, since: float) -> float | None:
    """Seconds from the database's return to a 201 for a request sent after it."""
    while time.monotonic() - since < RECOVERY_SECONDS:
        answered = [e.answered for e in watchers.events if e.status == 201 and e.sent >= since]
        if answered:
            return min(answered) - since
        time.sleep(0.02)
    return None


def _is_allowed(event: Event) -> bool:
    return event.status == 201 or (event.status == 503 and event.has_retry_after)


def _checked(installed: Service, watchers: Watchers, where: str, number: int, before: int) -> Round:
    acknowledged = watchers.acknowledged()
    found = records.inputs(installed.database_url, acknowledged)
    return Round(
        where=where,
        number=number,
        acknowledged=watchers.statuses()[201],
        recorded=records.count(installed.database_url) - before,
        # An id that was given twice is a loss too.
        lost=watchers.statuses()[201] - len(found),
        mixed=sum(found[i] != {"features": acknowledged[i]} for i in found),
        statuses={str(status or "none"): n for status, n in sorted(watchers.statuses().items())},
    )


def _tell(result: Round) -> None:
    verdict = "ok" if result.is_good else "BAD"
    print(f"{result.where} {result.number}: {verdict} {asdict(result)}", flush=True)


def _report(options: argparse.Namespace, rounds: list[Round]) -> int:
    rows = []
    for one in rounds:
        statuses = ", ".join(f"{status}: {n}" for status, n in one.statuses.items())
        counts = (one.number, one.acknowledged, one.recorded, one.lost, one.mixed, one.forbidden)
        rows.append([one.where, *map(str, counts), shown(one.recovery_seconds), statuses])
    head = ["where", "round", "acknowledged", "recorded", "lost", "mixed", "forbidden"]
    print(f"\n{report.table([*head, 's to recovery', 'answers (none: no answer)'], rows)}")
    totals: Counter[str] = Counter()
    for one in rounds:
        totals += Counter(acknowledged=one.acknowledged, lost=one.lost, mixed=one.mixed)
    print(
        f"\n{totals['acknowledged']:,} acknowledged, {totals['lost']} lost, {totals['mixed']} mixed"
    )
    raw: list[dict[str, Any]] = [asdict(one) for one in rounds]
    report.write_json(options.json, {"rounds": raw})
    if options.restart and any(one.recovery_seconds is None for one in rounds):
        return 1
    return int(not all(one.is_good for one in rounds))
