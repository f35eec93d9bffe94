import argparse
import os
import sys
import tempfile

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from mlapi.databases import pooler


class Command(BaseCommand):
    help = "Run the production server until SIGTERM or Ctrl-C. Requests in flight are completed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (127.0.0.1).")
        parser.add_argument("--port", type=_port, default=8000, help="Port to listen on (8000).")
        parser.add_argument(
            "--workers",
            type=_positive,
            default=1,
            help="Number of processes (1). Each has its own models and database pool.",
        )
        parser.add_argument(
            "--threads", type=_positive, default=16, help="Threads per process (16)."
        )
        parser.add_argument(
            "--pin",
            action=argparse.BooleanOptionalAction,
            help="Pin each worker to one processor: more small predictions per second, but a large"
            " model's own threads are limited to that processor. By default, workers are pinned if"
            " there are at least as many workers as processors.",
        )

    def handle(
        self,
        *,
        host: str,
        port: int,
        workers: int,
        threads: int,
        pin: bool | None,
        **options: object,
    ) -> None:
        check_migrations()
        check_pooler()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        command = [sys.executable, "-m", "mlapi.server"]
        command += ["--host", host, "--port", str(port)]
        command += ["--workers", str(workers), "--threads", str(threads)]
        if should_pin(pin, workers):
            command.append("--pin")
        self.stdout.write(f"Serving on http://{address} (stop with Ctrl-C)")
        self.stdout.flush()
        # exec instead of a child process: signals reach the server directly, and it starts without
        # this process's connections and threads.
        os.execvpe(command[0], command, server_environment(workers))  # noqa: S606


def should_pin(pin: bool | None, workers: int) -> bool:
    """Whether to pin the workers; None means the default."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    return workers >= len(os.sched_getaffinity(0)) if pin is None else pin


def check_migrations() -> None:
    """Raise CommandError unless the database is available and migrated; leaves no connection."""
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database is unavailable: {error}") from error
    finally:
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()
    if pending:
        raise CommandError(
            f"{len(pending)} migrations are not applied. Run `python manage.py migrate` first."
        )


def check_pooler() -> None:
    """Raise CommandError if a connection pooler would mix the statements of its clients."""
    try:
        pooler.check_pooler(connections[DEFAULT_DB_ALIAS])
    except pooler.PoolerMisconfigured as error:
        raise CommandError(str(error)) from error
    except DatabaseError as error:
        raise CommandError(f"The database is unavailable: {error}") from error


def server_environment(workers: int) -> dict[str, str]:
    """The environment of this process, with a folder where several workers share their metrics.

    The folder is new at each start: an old one would restore the counts of an earlier run. A single
    worker counts in memory, which is faster.
    """
    environment = dict(os.environ)
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if workers > 1:
        environment["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="mlapi-metrics-")
    return environment


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("must be between 1 and 65535")
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
