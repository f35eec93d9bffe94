"""`python -m benchmarks story`: a model drifts, and what its monitor says day by day.

Gradient boosting and a random forest are trained on the first half of the reference period of a
public data set, and registered with the second half as their reference. The forest is the canary of
the champion. Then follow 32 days: applications are sent in small batches to a server of its own,
and what became of them is reported two weeks later. After each midnight `manage.py monitor --due`
runs, as from cron. From the 17th day on, the data drift.

Nothing is written behind the service's back: its processes read a clock that this run moves from
day to day. The last day is yesterday. The database is SQLite, which has the clock of the processes:
they would correct theirs by PostgreSQL's.

The first run downloads NannyML's wheel, whose data it reads (or name the folder of its CSV files
with --data), and libfaketime, which it compiles: that needs gcc and make. It does not need wrk.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.harness.environments import PROJECT, CurrentEnvironment
from benchmarks.harness.service import PASSWORD, USERNAME, CommandFailed, Installation
from benchmarks.monitoring.car_loans import CarLoans
from benchmarks.monitoring.clock import ShiftedClock, faking_library
from benchmarks.monitoring.lender import Lender, register, write_applications
from benchmarks.monitoring.telling import (
    CANARY,
    CHAMPION,
    DAYS,
    DRIFT_DAY,
    MAX_ROWS_A_DAY,
    VERSIONS,
    Day,
    Story,
    reference_applications,
)
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target

CANARY_PERCENT = 40.0
ROWS_A_DAY = 1500
# With fewer, no version has the 100 rows that a verdict takes.
MIN_ROWS_A_DAY = 300
LABEL_DAYS = 14
# Alerts open after two windows.
MAX_ROLLBACK_DAY = DRIFT_DAY + 1
MIN_FALL = 0.015
# Three standard errors of the accuracy of 1,300 answers. About so many of the canary's drift and
# get labels before the end.
MAX_ERROR = 0.025
TRAINING_TIMEOUT_SECONDS = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", ROWS_A_DAY, f"applications a day, at most {MAX_ROWS_A_DAY}")
    add_integer(parser, "--label-days", LABEL_DAYS, "days until an outcome is reported")
    add_integer(parser, "--workers", 1, "processes of the server")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="with NannyML's synthetic_car_loan_*.csv"
    )
    parser.add_argument(
        "--hold", action="store_true", help="keep serving at the end, to look at the admin"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    _check("--rows", options.rows, MIN_ROWS_A_DAY, MAX_ROWS_A_DAY)
    _check("--label-days", options.label_days, 1, DAYS - 1)
    loans = CarLoans.load(options.data)
    with TemporaryDirectory() as name:
        return _run(options, loans, Path(name))


def _check(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise CommandFailed(f"{name} must be from {lowest} to {highest}, not {value}")


def _run(options: argparse.Namespace, loans: CarLoans, folder: Path) -> int:
    clock = ShiftedClock(faking_library(), folder / "clock")
    story = Story(loans, clock, rows_a_day=options.rows, label_days=options.label_days)
    clock.set(story.start - timedelta(hours=2))
    installation = Installation(
        f"sqlite:///{folder / 'db.sqlite3'}",
        folder / "installation",
        # On a busy machine, too, the forest is examined to the end.
        settings={**clock.variables, "PROOF_TIMEOUT_SECONDS": "600"},
        interpreter=CurrentEnvironment(),
    )
    _prepare(installation, loans, folder)
    with installation.server(workers=options.workers) as service:
        clock.set(story.start)
        lender = Lender(service)
        lender.start_canary(CANARY, CANARY_PERCENT)
        lender.create_monitor()
        days = story.tell(installation, lender)
        missed = _report(options, days, story.reference_accuracy, lender.last_move())
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


def _report(
    options: argparse.Namespace,
    days: Sequence[Day],
    reference_accuracy: Mapping[str, float],
    move: dict[str, object],
) -> bool:
    """Whether a target was missed."""
    print(f"Accuracy on the reference: {_pair(reference_accuracy)}, of the champion / the canary")
    print(f"Labels come {options.label_days} days late.\n")
    measured = {day.labelled_day: day.measured for day in days}
    head = ["day", "answers", "estimated accuracy", "measured later", "alerts opened"]
    rows = [_row(day, measured.get(day.number, {})) for day in days]
    print(report.table([*head, "open alerts", "canary"], rows))
    head = ["", "labelled answers", "estimated accuracy", "measured accuracy"]
    print("\n" + report.table(head, map(_phase_row, _phases(days))))
    print("\nThe alerts:\n")
    for day in days:
        for alert in day.alerts:
            name = f"version {alert['version']}, {alert['severity']}"
            print(f"- day {day.number}, {name}: {alert['reason']}")
    print(f"\nThe last move of the alias: {move['reason']}\n")
    targets = _targets(days)
    print(report.targets_table(targets))
    figures = {
        "reference_accuracy": dict(reference_accuracy),
        "days": [asdict(day) for day in days],
        "move": move,
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, figures)
    return any(not target.is_met for target in targets)


def _row(day: Day, measured: Mapping[str, float]) -> list[str]:
    severe = sum(alert["severity"] == "severe" for alert in day.alerts)
    opened = f"{len(day.alerts)}, {severe} of them severe" if day.alerts else report.MISSING
    return [
        str(day.number),
        " / ".join(f"{day.rows.get(version, 0):,}" for version in VERSIONS),
        _pair(day.estimated),
        _pair(measured),
        opened,
        str(day.open_alerts),
        "ended" if day.canary_percent is None else f"{day.canary_percent:g} %",
    ]


def _pair(accuracies: Mapping[str, float]) -> str:
    return " / ".join(
        f"{accuracies[version]:.3f}" if version in accuracies else report.MISSING
        for version in VERSIONS
    )


def _targets(days: Sequence[Day]) -> list[Target]:
    before = [day for day in days if day.number < DRIFT_DAY]
    drifting = days[DRIFT_DAY - 1 :]
    fall = _smallest_fall(before, drifting)
    errors = [abs(phase.estimated - phase.measured) for phase in _phases(days)]
    rollback_day = next((day.number for day in days if day.canary_percent is None), None)
    estimate_day = next(
        (day.number for day in days if "estimated_quality" in {a["kind"] for a in day.alerts}), None
    )
    # The one before the first labels of answers that drift.
    last_day = DRIFT_DAY + days[0].number - days[0].labelled_day - 1
    return [
        Target("alerts before the drift", 0, "at most", sum(len(day.alerts) for day in before)),
        Target("fall of the estimates, the smaller", MIN_FALL, "at least", fall),
        Target("day of the rollback", MAX_ROLLBACK_DAY, "at most", rollback_day),
        Target("day of an alert of estimated quality", last_day, "at most", estimate_day),
        Target("estimated less measured accuracy", MAX_ERROR, "at most", max(errors, default=None)),
    ]


def _smallest_fall(before: Sequence[Day], drifting: Sequence[Day]) -> float | None:
    """Of the versions' estimated accuracy; None if one has no estimate."""
    falls: list[float] = []
    for version in VERSIONS:
        means = _mean_estimate(before, version), _mean_estimate(drifting, version)
        if means[0] is None or means[1] is None:
            return None
        falls.append(means[0] - means[1])
    return min(falls)


def _mean_estimate(days: Sequence[Day], version: str) -> float | None:
    """Of all answers of these days."""
    known = [
        (day.rows[version], day.estimated[version]) for day in days if version in day.estimated
    ]
    return _weighted_mean(known) if known else None


@dataclass(frozen=True, slots=True)
class _Phase:
    """The answers of a version before the drift, or in it, whose labels have come."""

    version: str
    is_drifting: bool
    rows: int
    estimated: float
    measured: float


def _phases(days: Sequence[Day]) -> list[_Phase]:
    measured = {day.labelled_day: day.measured for day in days}
    phases = []
    for version in VERSIONS:
        for is_drifting in (False, True):
            known = [
                (day.rows[version], day.estimated[version], measured[day.number][version])
                for day in days
                if (day.number >= DRIFT_DAY) is is_drifting
                and version in day.estimated
                and version in measured.get(day.number, {})
            ]
            if known:
                estimate = _weighted_mean([(rows, estimated) for rows, estimated, _ in known])
                accuracy = _weighted_mean([(rows, accuracy) for rows, _, accuracy in known])
                n_rows = sum(rows for rows, _, _ in known)
                phases.append(_Phase(version, is_drifting, n_rows, estimate, accuracy))
    return phases


def _phase_row(phase: _Phase) -> list[str]:
    name = "the champion" if phase.version == CHAMPION else "the canary"
    when = "in the drift" if phase.is_drifting else "before the drift"
    figures = f"{phase.rows:,}", f"{phase.estimated:.3f}", f"{phase.measured:.3f}"
    return [f"{name} {when}", *figures]


def _weighted_mean(values: Sequence[tuple[int, float]]) -> float:
    return sum(rows * value for rows, value in values) / sum(rows for rows, _ in values)
