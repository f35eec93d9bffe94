"""`python -m benchmarks story`: a model drifts, and what its monitor says day by day.

Gradient boosting and a random forest are trained on the first half of the reference period of a
public data set, and registered with the second half as their reference. The forest is the canary of
the champion. Then each chunk of the later period is a day: its applications are sent one by one to
a server of its own, spread over the hours, and what became of them is reported some days later.
After each midnight `manage.py monitor --due` runs, as from cron.

Nothing is written behind the service's back: its processes read a clock that this run moves from
hour to hour. The last day is yesterday. PostgreSQL keeps the system's clock; the story needs no
time of its.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.harness import postgresql
from benchmarks.harness.environments import PROJECT, CurrentEnvironment
from benchmarks.harness.service import PASSWORD, USERNAME, Installation
from benchmarks.monitoring.car_loans import CHUNK_ROWS, CarLoans
from benchmarks.monitoring.clock import ShiftedClock, faking_library
from benchmarks.monitoring.lender import Lender, register, write_applications
from benchmarks.monitoring.telling import (
    CANARY,
    CHAMPION,
    VERSIONS,
    Day,
    Story,
    reference_applications,
)
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target

DATABASE = "benchmark_story"
CANARY_PERCENT = 25.0
# The first day that drifts.
DRIFT_DAY = 6
# Alerts open after two windows.
MAX_ROLLBACK_DAY = DRIFT_DAY + 1
MIN_FALL = 0.015
# Three standard errors of the accuracy of 1,250 rows, and half a point for the estimate's
# assumption: that the relation of inputs to labels is the same for dearer cars.
MAX_ERROR = 0.03
TRAINING_TIMEOUT_SECONDS = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", CHUNK_ROWS, "applications a day, at most that many")
    add_integer(parser, "--label-days", 3, "days until an outcome is reported")
    add_integer(parser, "--workers", 1, "processes of the server")
    parser.add_argument(
        "--hold", action="store_true", help="keep serving at the end, to look at the admin"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    loans = CarLoans.load()
    with postgresql.server() as database, TemporaryDirectory() as name:
        folder = Path(name)
        database.recreate(DATABASE)
        try:
            return _run(options, loans, database.database_url(DATABASE), folder)
        finally:
            database.drop(DATABASE)


def _run(options: argparse.Namespace, loans: CarLoans, url: str, folder: Path) -> int:
    clock = ShiftedClock(faking_library(), folder / "clock")
    story = Story(loans, clock, rows_a_day=options.rows, label_days=options.label_days)
    clock.set(story.start - timedelta(hours=2))
    installation = Installation(
        url,
        folder / "installation",
        # On a busy machine, too, the forest is examined to the end.
        settings={**clock.variables, "PROOF_TIMEOUT_SECONDS": "600"},
        interpreter=CurrentEnvironment(),
    )
    _prepare(installation, loans, folder)
    with installation.server(workers=options.workers) as service:
        lender = Lender(service)
        lender.start_canary(CANARY, CANARY_PERCENT)
        lender.create_monitor()
        days = story.tell(installation, lender)
        missed = _report(options, days, lender.last_move())
        if options.hold:
            clock.set(datetime.now(UTC))
            print(f"http://127.0.0.1:{service.port}/admin/  {USERNAME}  {PASSWORD}", flush=True)
            signal.pause()
    return int(missed)


def _prepare(installation: Installation, loans: CarLoans, folder: Path) -> None:
    """Train on the first half of the reference period; the second half is the reference."""
    past = reference_applications(loans)
    training, reference = folder / "training.csv", folder / "reference.csv"
    write_applications(training, past[: len(past) // 2])
    write_applications(reference, past[len(past) // 2 :])
    print("training ...", file=sys.stderr, flush=True)
    program = "benchmarks.monitoring.programs.train_car_loans"
    subprocess.run(  # noqa: S603
        [installation.interpreter.python, "-m", program, str(training), str(folder)],
        cwd=PROJECT,
        # On a busy machine, threads of OpenMP would mostly wait for each other.
        env=installation.interpreter.variables(OMP_NUM_THREADS="1"),
        check=True,
        timeout=TRAINING_TIMEOUT_SECONDS,
    )
    installation.set_up()
    register(installation, folder / "champion.skops", CHAMPION, reference)
    register(installation, folder / "candidate.skops", CANARY, reference)


def _report(options: argparse.Namespace, days: Sequence[Day], move: dict[str, object]) -> bool:
    """Whether a target was missed."""
    head = ["day", "answers", "estimated accuracy", "labels of", "measured accuracy"]
    print(report.table([*head, "alerts opened", "canary"], [_row(day) for day in days]))
    print("\nOf the champion / the canary. The alerts:\n")
    for day in days:
        for alert in day.alerts:
            name = f"version {alert['version']}, {alert['severity']}"
            print(f"- day {day.number}, {name}: {alert['reason']}")
    print(f"\nThe last move of the alias: {move['reason']}\n")
    targets = _targets(days)
    print(report.targets_table(targets))
    figures = {
        "days": [asdict(day) for day in days],
        "move": move,
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, figures)
    return any(not target.is_met for target in targets)


def _row(day: Day) -> list[str]:
    severe = sum(alert["severity"] == "severe" for alert in day.alerts)
    alerts = f"{len(day.alerts)}, {severe} of them severe" if day.alerts else report.MISSING
    return [
        str(day.number),
        _pair({version: f"{n_rows:,}" for version, n_rows in day.rows.items()}),
        _pair({version: f"{accuracy:.3f}" for version, accuracy in day.estimated.items()}),
        f"day {day.labelled_day}" if day.labelled_day > 0 else report.MISSING,
        _pair({version: f"{accuracy:.3f}" for version, accuracy in day.measured.items()}),
        alerts,
        "ended" if day.canary_percent is None else f"{day.canary_percent:g} %",
    ]


def _pair(texts: dict[str, str]) -> str:
    return " / ".join(texts.get(version, report.MISSING) for version in VERSIONS)


def _targets(days: Sequence[Day]) -> list[Target]:
    before = [day for day in days if day.number < DRIFT_DAY]
    ended = [day for day in days if day.canary_percent is None]
    drifted = days[DRIFT_DAY - 1].estimated
    falls = [
        sum(day.estimated[version] for day in before) / len(before) - drifted.get(version, 1.0)
        for version in VERSIONS
    ]
    errors = [
        abs(days[day.labelled_day - 1].estimated[version] - accuracy)
        for day in days
        for version, accuracy in day.measured.items()
    ]
    rollback_day = ended[0].number if ended else None
    labelled = None if rollback_day is None else float(days[rollback_day - 1].labelled_day)
    return [
        Target("alerts before the drift", 0, "at most", sum(len(day.alerts) for day in before)),
        Target("fall of the estimate on its first day", MIN_FALL, "at least", min(falls)),
        Target("day of the rollback", MAX_ROLLBACK_DAY, "at most", rollback_day),
        Target("newest day with labels by then", DRIFT_DAY - 1, "at most", labelled),
        Target("estimated less measured accuracy", MAX_ERROR, "at most", max(errors)),
    ]
