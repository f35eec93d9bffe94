"""`python -m mlapi.server`: claims the address, prepares the run folder, and supervises workers."""

import contextlib
import logging
import logging.config
import os
import resource
import signal
import sys
import types
from dataclasses import replace

from mlapi.configuration.logs import logging_config
from mlapi.server import addresses, run_folder
from mlapi.server.addresses import AddressError
from mlapi.server.options import OTHER_DESCRIPTORS, Options, parse
from mlapi.server.run_folder import RunFolderError
from mlapi.server.supervisor import Supervisor

EXPECTED_SIGNALS = (signal.SIGTERM, signal.SIGINT)
MIN_CONNECTIONS = 16

logger = logging.getLogger("mlapi.server")


def main() -> None:
    # `serve` has checked the settings and put those of `.env` into the environment.
    level = os.environ.get("LOG_LEVEL", "").strip().upper() or "INFO"
    style = os.environ.get("LOG_FORMAT", "").strip().lower() or "console"
    logging.config.dictConfig(logging_config(level, style))
    options = parse(sys.argv[1:])
    for number in EXPECTED_SIGNALS:
        signal.signal(number, _stop_before_start)
    max_connections = allowed_connections(options.max_connections)
    try:
        serve(replace(options, max_connections=max_connections))
    except (AddressError, RunFolderError) as error:
        sys.exit(f"Error: {error}")


def serve(options: Options) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; all of its processes have ended when it returns.

    Raises AddressError if an address cannot be used, RunFolderError without a temporary folder.
    """
    address = addresses.resolve(options.host, options.port)
    with contextlib.ExitStack() as stack:
        stack.enter_context(addresses.claim(address))
        health_socket = None
        if options.health_port:
            health_address = addresses.resolve(options.host, options.health_port)
            health_socket = stack.enter_context(addresses.listen(health_address))
        folder = stack.enter_context(run_folder.created())
        if options.workers > 1 or options.with_worker:
            # A single worker counts in memory, which is faster.
            os.environ[run_folder.METRICS_FOLDER] = str(folder / "metrics")
        else:
            os.environ.pop(run_folder.METRICS_FOLDER, None)
        Supervisor(options, address, folder, health_socket).run()


def allowed_connections(wanted: int) -> int:
    """How many connections each worker may have, after allowing it all descriptors it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY or soft - OTHER_DESCRIPTORS >= wanted:
        return wanted
    allowed = max(soft - OTHER_DESCRIPTORS, MIN_CONNECTIONS)
    logger.warning(
        "Each worker accepts %d connections instead of %d, because it may open only %d files"
        " (ulimit -n)",
        allowed,
        wanted,
        soft,
    )
    return allowed


def _stop_before_start(number: int, frame: types.FrameType | None) -> None:
    """A stop before the supervisor handles signals: leave through the `finally` clauses."""
    sys.exit(0)


if __name__ == "__main__":
    main()
