"""`python -m benchmarks chaos`: one fault after another, then two at a time, under steady load.

Requests of every kind are sent while workers are killed, models hang, clients are slow, the
database stops or disks are full. After each fault, every acknowledged row must be recorded as it
was acknowledged, every request must have been answered or refused in time, health must have
answered within 100 ms, and the service must be back by itself. A violation makes the exit status 1.

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
from benchmarks.chaos.phases import Outcome, run_phase
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
        "--faults", type=_names, metavar="NAMES", default=list(FAULTS), help=", ".join(FAULTS)
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
        HealthProbes(system.port) as probes,
    ):
        for name in options.faults:
            outcomes.append(_run(system, probes, [name], options))
        possible = [
            name
            for name, outcome in zip(options.faults, outcomes, strict=True)
            if not outcome.skipped
        ]
        for pair in random_pairs(possible, options.seed):
            if time.monotonic() - began_at > 60 * options.minutes:
                break
            outcomes.append(_run(system, probes, list(pair), options))
        if options.log:
            shutil.copyfile(system.installation.folder / "server.log", options.log)
    return summary.print_summary(outcomes, options, time.monotonic() - began_at)


def _run(
    system: SystemUnderTest, probes: HealthProbes, names: list[str], options: argparse.Namespace
) -> Outcome:
    faults = [FAULTS[name](system) for name in names]
    outcome = run_phase(system, probes, faults, seconds=options.seconds, rate=options.rate)
    # Shown at once: a run may take half an hour.
    print(summary.line(outcome), file=sys.stderr, flush=True)
    return outcome


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in FAULTS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names
