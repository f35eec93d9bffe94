"""Run the production server."""

import argparse
import os
import sys
import tempfile
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor


class Command(BaseCommand):
    help = "Serve the API until SIGTERM or Ctrl-C; requests in flight are finished."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=_port, default=8000, help="port to listen on")
        parser.add_argument(
            "--workers",
            type=_positive,
            default=1,
            help="processes; each has its own models and database pool",
        )
        parser.add_argument("--threads", type=_positive, default=16, help="threads a process")
        parser.add_argument(
            "--pin",
            action=argparse.BooleanOptionalAction,
            help="keep each worker on one processor: more small predictions a second, but a large"
            " model's own threads get no more than that one. The default is to do so where there"
            " are at least as many workers as processors",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        check_migrations()
        host = options["host"]
        address = f"[{host}]:{options['port']}" if ":" in host else f"{host}:{options['port']}"
        command = [sys.executable, "-m", "mlapi.server"]
        for option in ("host", "port", "workers", "threads"):
            command += [f"--{option}", str(options[option])]
        if should_pin(options["pin"], options["workers"]):
            command.append("--pin")
        self.stdout.write(f"Serving on http://{address} (stop with Ctrl-C)")
        self.stdout.flush()
        # Replaced, not started: signals reach the server itself, and its parent process begins
        # without this one's connections and threads.
        os.execvpe(command[0], command, server_environment(options["workers"]))  # noqa: S606


def should_pin(asked: bool | None, workers: int) -> bool:
    if not hasattr(os, "sched_setaffinity"):
        return False
    return workers >= len(os.sched_getaffinity(0)) if asked is None else asked


def check_migrations() -> None:
    """Raise CommandError unless the database answers and is up to date; leave nothing open."""
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database is not available: {error}") from error
    finally:
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()
    if pending:
        raise CommandError(
            f"{len(pending)} migrations are not applied: run `python manage.py migrate` first"
        )


def server_environment(workers: int) -> dict[str, str]:
    """This environment, with a new folder where several workers put their metrics together.

    New at each start, since the counts of an earlier run would come back with it. One worker counts
    in its memory, which is quicker.
    """
    environment = dict(os.environ)
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if workers > 1:
        environment["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="mlapi-metrics-")
    return environment


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("must be from 1 to 65535")
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
