"""The command line: `python -m benchmarks --help`."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, Protocol

from benchmarks import batch_copy, object_storage, profiling
from benchmarks.chaos import command as chaos
from benchmarks.commits import comparison as commits
from benchmarks.commits import crossing
from benchmarks.consistency import deactivation, durability, revocation
from benchmarks.depth import comparison as depth
from benchmarks.depth import exporting
from benchmarks.endurance import bystanders, soak
from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.load import HOW_TO_GET_WRK, WrkMissing
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.service import CommandFailed
from benchmarks.monitoring import alarms, counting, published, story
from benchmarks.partitions import comparison as partitions
from benchmarks.peers import comparison as peers
from benchmarks.replicas import command as replicas
from benchmarks.replicas import scaling
from benchmarks.scoring import comparison as scoring
from benchmarks.shadowing import comparison as shadowing


class Command(Protocol):
    """A module that implements a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> int:
        """The exit code."""


COMMANDS: dict[str, tuple[str, Command]] = {
    "peers": ("compare the service with its peers in interleaved rounds (the default)", peers),
    "commits": ("compare two commits of the service in pairs of short runs", commits),
    "files": ("list the project's files that one POST of a prediction runs through", crossing),
    "copy": ("compare a recorded batch with PostgreSQL's COPY of the same rows", batch_copy),
    "depth": ("time lists, single reads and writes at ten million rows", depth),
    "partitions": ("compare the log in partitions with a plain table; convert one", partitions),
    "exporting": ("export a large log twice: rows/s, memory and equal digests", exporting),
    "scoring": ("score a large table on both engines, killing processes: equal digests", scoring),
    "counting": ("count a large log by the hour: rows/s, memory, a month's report", counting),
    "durability": ("kill servers and PostgreSQL: no acknowledged prediction is lost", durability),
    "chaos": ("one fault after another under load, then two at a time", chaos),
    "replicas": ("kill replicas behind a balancer, move aliases, end the object storage", replicas),
    "scaling": ("one and two workers and replicas, and what would bound 1,000", scaling),
    "soak": ("minutes of load: memory, threads, descriptors and latency stay flat", soak),
    "bystanders": ("what callers of good models notice of bad models and clients", bystanders),
    "keys": ("compare keys with tokens; check that a revocation holds at once", revocation),
    "deactivate": ("check that a deactivation holds in every process at once", deactivation),
    "shadows": ("measure what a slow and a failing shadow cost the callers", shadowing),
    "alarms": ("false alarms and power of the rule for drift, beside other rules", alarms),
    "published-figures": ("compare distances and estimated quality with NannyML's", published),
    "story": ("a month of a public data set that drifts, and what the monitor says", story),
    "storage": ("put an artifact into object storage, and fetch it", object_storage),
    "profile": ("show where the time of a prediction goes", profiling),
}

EPILOG = f"""Run with the Python of the development environment (pip install -e '.[dev]').
If DATABASE_URL names a PostgreSQL server, the runs create databases named benchmark_* there;
otherwise they start an embedded server and stop it at the end. All servers listen on loopback.
Each peer is installed once, in its own environment below benchmarks/.cache. Machines are noisy:
compare figures of the same run only. `python -m benchmarks COMMAND --help` lists the options.

Needs wrk. {HOW_TO_GET_WRK.partition(". ")[2]}
"""


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the service from outside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, module) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: list[str]) -> int:
    # Stopped from outside, a run must still stop the servers it has started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["peers", *arguments]
    options = create_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        print("\nInterrupted; every process of this run has been stopped.", file=sys.stderr)
        return 130
    except (WrkMissing, NotInstallable, ServerFailed, CommandFailed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"benchmarks: {error}\n{error.stderr or ''}", file=sys.stderr)
        return 1


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # Only once: a second Ctrl-C would interrupt the clean-up.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
