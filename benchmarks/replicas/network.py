"""What stands between callers, replicas and the database: HAProxy and PgBouncer."""

import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import create_connection

from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.processes import Server, free_port

READY_SECONDS = 30

POOLER = """
[databases]
* = host={host} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 30
max_client_conn = 500
max_prepared_statements = 200
server_login_retry = 1
user = {owner}
"""

# A request is sent to another replica only if the first could not be connected to: one that was
# sent may have been recorded.
BALANCER = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    option redispatch 1
    retries 3
    retry-on conn-failure
    http-error status 503 content-type text/plain string "no replica is ready" hdr Retry-After 1
frontend callers
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance leastconn
    option httpchk GET /health/ready
    http-check expect status 200
    default-server check inter 500ms fall 1 rise 1
{servers}
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a replica answers requests, and where it tells whether it is ready."""

    port: int
    health_port: int


def program(name: str, given: Path | None) -> str:
    """The path of a program; raises NotInstallable."""
    path = str(given) if given else shutil.which(name)
    if path is None or not os.access(path, os.X_OK):
        raise NotInstallable(f"{name} is missing: install it (apt-get install {name})")
    return path


@contextlib.contextmanager
def pooler(path: str, database: PostgreSQL) -> Iterator[int]:
    """PgBouncer in transaction mode; the port that it listens on."""
    port, host = free_port(), database.socket.parent
    # PgBouncer refuses to run as root, and only its owner may enter the folder of the socket.
    uid = host.stat().st_uid or pwd.getpwnam("nobody").pw_uid
    owner = pwd.getpwuid(uid).pw_name if os.getuid() == 0 else ""
    text = POOLER.format(host=host, port=port, owner=owner)
    with _running([path], text, ".ini", port):
        yield port


@contextlib.contextmanager
def balancer(path: str, replicas: Sequence[Address]) -> Iterator[int]:
    """HAProxy in front of the replicas that are ready; the port that it listens on."""
    port = free_port()
    servers = "\n".join(
        f"    server replica{number} 127.0.0.1:{replica.port} check port {replica.health_port}"
        for number, replica in enumerate(replicas, 1)
    )
    text = BALANCER.format(port=port, servers=servers)
    with _running([path, "-db", "-f"], text, ".cfg", port):
        yield port


@contextlib.contextmanager
def _running(command: Sequence[str], configuration: str, suffix: str, port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="mlapi-replicas-") as name:
        folder = Path(name)
        # Readable for the user that PgBouncer becomes.
        folder.chmod(0o755)
        file = folder / f"configuration{suffix}"
        file.write_text(configuration)
        server = Server(
            [*command, str(file)],
            environment=dict(os.environ),
            folder=folder,
            log=folder / "log",
        )
        with server:
            server.wait_until(partial(_listens, port), seconds=READY_SECONDS)
            yield


def _listens(port: int) -> bool:
    with create_connection(("127.0.0.1", port), timeout=1):
        return True
