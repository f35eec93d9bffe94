"""The command line: `python -m benchmarks --help`."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from benchmarks import batch_copy, deactivation, depth, durability, profiling, shadowing
from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.load import HOW_TO_GET_WRK, WrkMissing
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.service import CommandFailed
from benchmarks.peers import comparison

COMMANDS: dict[str, tuple[str, Any]] = {
    "peers": ("the service beside its peers, in interleaved rounds (the default)", comparison),
    "copy": ("a recorded batch against PostgreSQL's COPY of the same rows", batch_copy),
    "depth": ("lists, single reads and writes at ten million rows, with plans", depth),
    "durability": ("nothing acknowledged is lost: kill -9, restarts of PostgreSQL", durability),
    "deactivate": ("a deactivation holds in every process once it is answered", deactivation),
    "shadows": ("what a slow and a failing shadow cost those who are answered", shadowing),
    "profile": ("where the time of a prediction goes, by share", profiling),
}

EPILOG = f"""Run it with the Python of the development environment (pip install -e '.[dev]').
PostgreSQL is DATABASE_URL's server where that is set (databases named benchmark_* are made there),
else an embedded one that ends with the run. All servers listen on loopback alone. Peers are
installed once, in environments of their own below benchmarks/.cache. Machines are noisy: only the
ratios within one run count. `python -m benchmarks COMMAND --help` shows a command's options.

Needs wrk. {HOW_TO_GET_WRK.partition(". ")[2]}
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the service from outside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (about, module) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return made


def main(arguments: list[str]) -> int:
    # Ended from outside, it must still end what it started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["peers", *arguments]
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        print("\nstopped; everything that was started has been ended", file=sys.stderr)
        return 130
    except (WrkMissing, NotInstallable, ServerFailed, CommandFailed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"benchmarks: {error}\n{error.stderr or ''}", file=sys.stderr)
        return 1


def _stop(number: int, frame: Any) -> NoReturn:
    # Once: a second Ctrl-C would interrupt the clearing away.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
