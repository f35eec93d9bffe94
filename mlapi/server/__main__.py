"""`python -m mlapi.server`: claims the address, prepares the run folder, and supervises workers."""

import contextlib
import logging.config
import os
import resource
import signal
import sys
import types

from mlapi.configuration.logs import logging_config
from mlapi.server import addresses, run_folder
from mlapi.server.addresses import AddressError
from mlapi.server.options import Options, parse
from mlapi.server.supervisor import Supervisor

EXPECTED_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    # `serve` has checked the settings and put those of `.env` into the environment.
    level = os.environ.get("LOG_LEVEL", "").strip().upper() or "INFO"
    style = os.environ.get("LOG_FORMAT", "").strip().lower() or "console"
    logging.config.dictConfig(logging_config(level, style))
    options = parse(sys.argv[1:])
    for number in EXPECTED_SIGNALS:
        signal.signal(number, _stop_before_start)
    raise_descriptor_limit()
    try:
        serve(options)
    except AddressError as error:
        sys.exit(f"Error: {error}")


def serve(options: Options) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; all of its processes have ended when it returns.

    Raises AddressError if an address cannot be used.
    """
    address = addresses.resolve(options.host, options.port)
    with contextlib.ExitStack() as stack:
        stack.enter_context(addresses.claim(address))
        health_socket = None
        if options.health_port:
            health_address = addresses.resolve(options.host, options.health_port)
            health_socket = stack.enter_context(addresses.listen(health_address))
        folder = stack.enter_context(run_folder.created())
        if options.workers > 1:
            # A single worker counts in memory, which is faster.
            os.environ[run_folder.METRICS_FOLDER] = str(folder / "metrics")
        else:
            os.environ.pop(run_folder.METRICS_FOLDER, None)
        Supervisor(options, address, folder, health_socket).run()


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system lets this user have; each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _stop_before_start(number: int, frame: types.FrameType | None) -> None:
    """A stop before the supervisor handles signals: leave through the `finally` clauses."""
    sys.exit(0)


if __name__ == "__main__":
    main()
