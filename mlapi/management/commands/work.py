import argparse
import logging
import os
import signal
import threading
import time
from types import FrameType

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from prometheus_client import start_http_server

from mlapi.databases.startup import DatabaseUnfit, check_database
from mlapi.management.commands.serve import port_number
from registry.work import kinds
from registry.work.worker import Totals, Worker

NICENESS = 10

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Do background work, such as delivering webhooks, until SIGTERM or Ctrl-C. Items in hand"
        " are finished. Any number of workers can run at once."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="End as soon as nothing is due, for cron. What is due later is not waited for.",
        )
        parser.add_argument(
            "--kinds",
            metavar="NAMES",
            help="Do only these kinds of work, separated by commas: "
            + ", ".join(sorted(kind.name for kind in kinds.registered())),
        )
        parser.add_argument(
            "--threads", type=_threads, default=8, help="Items to work on at a time (8)."
        )
        parser.add_argument(
            "--metrics-port",
            type=port_number,
            help="Port of loopback on which the metrics of this process are served.",
        )
        parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)

    def handle(
        self,
        *,
        once: bool,
        kinds: str | None,
        threads: int,
        metrics_port: int | None,
        parent: int | None,
        **options: object,
    ) -> None:
        chosen = _chosen_kinds(kinds)
        try:
            check_database()
        except DatabaseUnfit as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(f"The database is unavailable: {error}") from error
        # A worker needs few connections; more are opened while it has more items in hand.
        if (pool := settings.DATABASES["default"]["OPTIONS"].get("pool")) is not None:
            pool["min_size"] = 1
        if metrics_port is not None:
            _serve_metrics(metrics_port)
        worker = Worker(chosen, threads=threads)
        _stop_on_signals(worker)
        if parent is not None:
            # Beside a server, which has priority.
            os.nice(NICENESS)
            _stop_with(parent, worker)
        names = ", ".join(kind.name for kind in chosen)
        logger.info("Process %d does background work: %s", os.getpid(), names)
        if once:
            try:
                worker.run_due()
            except Error as error:
                raise CommandError(f"The database is unavailable: {error}") from error
        else:
            worker.run_until_stopped(_log_progress)
        self.stdout.write(_describe(worker.totals))


def _chosen_kinds(names: str | None) -> list[kinds.Kind[object]]:
    known = {kind.name: kind for kind in kinds.registered()}
    if names is None:
        return list(known.values())
    chosen = [name.strip() for name in names.split(",")]
    if unknown := [name for name in chosen if name not in known]:
        raise CommandError(
            f"--kinds: {unknown[0]!r} is not a kind of work; there are {', '.join(sorted(known))}"
        )
    return [known[name] for name in chosen]


def _stop_on_signals(worker: Worker) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        worker.stop()
        # A second signal does not wait for the items in hand.
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _stop_with(parent: int, worker: Worker) -> None:
    """Stop when that process is gone: a parent that is killed cannot stop its children."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        worker.stop()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _serve_metrics(port: int) -> None:
    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise CommandError(f"--metrics-port {port} cannot be used: {error.strerror}") from error


def _log_progress(totals: Totals) -> None:
    logger.info("%s", _describe(totals))


def _describe(totals: Totals) -> str:
    return f"{totals.done} items done, {totals.failed} failed"


def _threads(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= 64:
        return int(text)
    raise argparse.ArgumentTypeError("must be a whole number from 1 to 64")
