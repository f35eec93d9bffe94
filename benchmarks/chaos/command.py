"""`python -m benchmarks chaos`: one fault after another, then two at a time, under steady load.

Requests of every kind are sent while workers are killed, models hang, clients are slow, the
database stops or disks are full. After each fault, every acknowledged row must be recorded as it
was acknowledged, every request must have been answered or refused in time, the health port must
have answered within 100 ms, and the service must be back by itself. A violation makes the exit
status 1.

A fault that this machine cannot have is skipped, with the reason: full disks need the rights to
mount, a clock that jumps needs a C compiler.
"""

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

from benchmarks.chaos import summary
from benchmarks.chaos.catalogue import FAULTS, random_pairs
from benchmarks.chaos.phases import Outcome, Watch, run_phase
from benchmarks.chaos.system import SystemUnderTest, system_under_test
from benchmarks.options import add_integer, add_json, add_system
from benchmarks.traffic.health import HealthProbes

FAULT_SECONDS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--minutes", 10, "length of the run: pairs follow until then")
    add_integer(parser, "--seconds", FAULT_SECONDS, "length of a fault")
    add_integer(parser, "--rate", 60, "requests a second")
    add_integer(parser, "--seed", 0, "of the random pairs")
    parser.add_argument(
        "--faults",
        type=_phases,
        metavar="NAMES",
        default=[[name] for name in FAULTS],
        help=f"{', '.join(FAULTS)}; those joined by + happen together",
    )
    add_system(parser)
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the service's log there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    began_at = time.monotonic()
    random.seed(options.seed)
    outcomes: list[Outcome] = []
    with (
        system_under_test(
            database=options.database,
            checkout=options.checkout.resolve(),
            workers=options.workers,
        ) as system,
        HealthProbes(system.health_port) as health_probes,
        HealthProbes(system.port) as probes,
    ):
        watch = Watch(health_probes, probes)
        try:
            for names in options.faults:
                outcomes.append(_run(system, watch, names, options))
            possible = [
                names[0]
                for names, outcome in zip(options.faults, outcomes, strict=True)
                if outcome.has_happened and len(names) == 1
            ]
            for pair in random_pairs(possible, options.seed):
                if time.monotonic() - began_at > 60 * options.minutes:
                    break
                outcomes.append(_run(system, watch, list(pair), options))
        finally:
            # What a run has found before an error of its own is worth minutes.
            status = summary.print_summary(outcomes, options, time.monotonic() - began_at)
            if options.log:
                shutil.copyfile(system.installation.folder / "server.log", options.log)
    return status


def _run(
    system: SystemUnderTest, watch: Watch, names: list[str], options: argparse.Namespace
) -> Outcome:
    faults = [FAULTS[name](system) for name in names]
    outcome = run_phase(system, watch, faults, seconds=options.seconds, rate=options.rate)
    # Shown at once: a run may take half an hour.
    print(summary.line(outcome), file=sys.stderr, flush=True)
    return outcome


def _phases(text: str) -> list[list[str]]:
    """The names of the faults of each phase."""
    phases = [phase.split("+") for phase in text.split(",")]
    if unknown := [name for names in phases for name in names if name not in FAULTS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return phases
