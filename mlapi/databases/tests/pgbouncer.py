"""PgBouncer in transaction mode in front of the test database."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from django.db import connection

# Launchers, separated by colons; `.ci/pgbouncer.sh` prints them.
VARIABLE = "MLAPI_TEST_PGBOUNCERS"
# PgBouncer keeps the prepared statements of its clients apart since this release.
KEEPS_STATEMENTS_APART = (1, 21)
START_TIMEOUT_SECONDS = 60

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
user = {owner}
"""


def launchers() -> list[str]:
    configured = [path for path in os.environ.get(VARIABLE, "").split(":") if path]
    return configured or [path for path in [shutil.which("pgbouncer")] if path]


def keeps_statements_apart(launcher: str) -> bool:
    output = subprocess.run(
        [launcher, "--version"], capture_output=True, text=True, check=True
    ).stdout
    release = tuple(int(number) for number in output.split()[1].split(".")[:2])
    return release >= KEEPS_STATEMENTS_APART


@contextmanager
def pgbouncer(launcher: str, *settings: str) -> Iterator[int]:
    """Run PgBouncer with further settings; the port that it listens on."""
    database = connection.get_connection_params()
    host = str(database["host"])
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        listen_port = free.getsockname()[1]
    # PgBouncer does not run as root, and only their owner may enter the folder of a socket.
    uid = Path(host).stat().st_uid if host.startswith("/") else os.getuid()
    owner = pwd.getpwuid(uid or pwd.getpwnam("nobody").pw_uid).pw_name
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(
            CONFIGURATION.format(
                host=host,
                port=database.get("port") or 5432,
                user=database["user"],
                listen_port=listen_port,
                owner=owner if os.getuid() == 0 else "",
            )
            + "\n".join(settings)
            + "\n"
        )
        file.flush()
        Path(file.name).chmod(0o644)
        process = subprocess.Popen(
            [launcher, file.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(listen_port, process)
            yield listen_port
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "PgBouncer has ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("PgBouncer does not listen")
