import argparse
import os
import sys

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, OperationalError, connections

from mlapi.configuration.temporary_folder import NoTemporaryFolder, ensure_temporary_folder
from mlapi.databases.startup import DatabaseUnfit, check_database
from mlapi.server import addresses
from mlapi.server.addresses import Address, AddressError
from mlapi.server.options import Options


class Command(BaseCommand):
    help = "Run the production server until SIGTERM or Ctrl-C. Requests in flight are completed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="Address or name to listen on (127.0.0.1)."
        )
        parser.add_argument(
            "--port", type=port_number, default=8000, help="Port to listen on (8000)."
        )
        parser.add_argument(
            "--workers",
            type=_positive,
            default=1,
            help="Number of processes (1). Each has its own models and database pool.",
        )
        parser.add_argument(
            "--threads",
            type=_at_least_16,
            default=256,
            help="Requests that each process works on at a time; more are answered 503 (256)."
            " Threads start when they are needed.",
        )
        parser.add_argument(
            "--health-port",
            type=_port_or_none,
            default=settings.HEALTH_PORT,
            help="Additional port for health checks, answered by a process of its own even if all"
            " workers hang (HEALTH_PORT; 0 for none).",
        )
        parser.add_argument(
            "--with-worker",
            action="store_true",
            help="Also do background work, such as delivering webhooks, in a process of its own, as"
            " `manage.py work` does.",
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
        health_port: int,
        pin: bool | None,
        with_worker: bool,
        **options: object,
    ) -> None:
        if health_port == port:
            raise CommandError(f"--health-port must be another port than --port, not {port} too")
        is_checked = self._check_database()
        address = _free_addresses(host, port, health_port)
        server_options = Options(
            host=address.host,
            port=port,
            workers=workers,
            threads=threads,
            pin=should_pin(pin, workers),
            with_worker=with_worker,
            health_port=health_port,
            worker_timeout_seconds=settings.WORKER_TIMEOUT_SECONDS,
            max_connections=settings.MAX_CONNECTIONS,
            check_database=not is_checked,
        )
        if not os.environ.get("MAX_CONCURRENT_PER_MODEL", "0").strip("0 "):
            os.environ["MAX_CONCURRENT_PER_MODEL"] = str(threads // 2)
        command = [sys.executable, "-m", "mlapi.server", *server_options.arguments()]
        self.stdout.write(f"Serving on http://{address} (stop with Ctrl-C)")
        self.stdout.flush()
        # exec instead of a child process: signals reach the server directly, and it starts without
        # this process's connections and threads.
        os.execv(command[0], command)  # noqa: S606

    def _check_database(self) -> bool:
        """Whether the database is fit for use; False if its server does not answer.

        Then the workers check it later: a service that is started while its database is down must
        answer health checks, and be back when the database is. Raises CommandError.
        """
        try:
            check_database()
        except DatabaseUnfit as error:
            raise CommandError(str(error)) from error
        except Error as error:
            has_server = connections[DEFAULT_DB_ALIAS].vendor == "postgresql"
            if not has_server or not isinstance(error, OperationalError):
                raise CommandError(f"The database is unavailable: {error}") from error
            self.stderr.write(
                f"The database is unavailable: {str(error).strip()}\n"
                "Starting without it: requests are refused until it answers."
            )
            return False
        return True


def _free_addresses(host: str, port: int, health_port: int) -> Address:
    """The address to serve on, if it and the health port are free; raises CommandError."""
    try:
        ensure_temporary_folder()
        address = free_address(host, port)
        if health_port:
            free_address(host, health_port)
    except (NoTemporaryFolder, AddressError) as error:
        raise CommandError(str(error)) from None
    return address


def free_address(host: str, port: int) -> Address:
    """The address of a name and a port that nobody listens on; raises AddressError."""
    address = addresses.resolve(host, port)
    addresses.require_free(address)
    return address


def should_pin(pin: bool | None, workers: int) -> bool:
    """Whether to pin the workers; None means the default."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    return workers >= len(os.sched_getaffinity(0)) if pin is None else pin


def port_number(text: str) -> int:
    """Raises ArgumentTypeError."""
    port = _whole_number(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("must be between 1 and 65535")
    return port


def _positive(text: str) -> int:
    number = _whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _at_least_16(text: str) -> int:
    number = _whole_number(text)
    if number < 16:
        raise argparse.ArgumentTypeError("must be at least 16")
    return number


def _port_or_none(text: str) -> int:
    return 0 if text == "0" else port_number(text)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a whole number") from None
