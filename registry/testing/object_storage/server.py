"""A real server of S3, SeaweedFS."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY = "tester"
SECRET_KEY = "only for tests on loopback"
BUCKET = "mlapi"
READY_SECONDS = 60
# Each of its servers also listens on the port that is this much higher.
GRPC_OFFSET = 10_000
PROGRAM = Path(sys.executable).parent / "weed"


@dataclass(frozen=True)
class S3Server:
    """`variables` are those of the environment by which clients find it."""

    process: "subprocess.Popen[bytes]"
    variables: Mapping[str, str]

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It accepts connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def s3_server(folder: Path, *, volume_mib: int = 64) -> Iterator[S3Server]:
    """A running server with an empty bucket, which has room for eight volumes of that size."""
    names = ("master", "volume", "filer", "s3")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    command = [str(PROGRAM), "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [
        f"-dir={folder}",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={volume_mib}",
    ]
    # Otherwise a second server on this machine ends, because these ports are taken.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **keys}, stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        variables = {
            **keys,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
            "AWS_ALLOW_HTTP": "true",
        }
        _create_bucket(process, ports["filer"])
        # It starts after the filer, and refuses a request without a signature.
        _repeat(process, ports["s3"], "GET", f"/{BUCKET}/", ("403",))
        yield S3Server(process, variables)
    finally:
        # It takes half a minute to end by itself, and its data is thrown away.
        process.kill()
        process.wait()


def _create_bucket(process: "subprocess.Popen[bytes]", filer_port: int) -> None:
    """A bucket is a folder of the filer, which needs no signed request."""
    _repeat(process, filer_port, "POST", f"/buckets/{BUCKET}/", ("200", "201"))


def _repeat(
    process: "subprocess.Popen[bytes]", port: int, method: str, path: str, expected: tuple[str, ...]
) -> None:
    """Send a request until its status is one of those expected."""
    deadline = time.monotonic() + READY_SECONDS
    request = f"{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    while True:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server is not ready"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(request)
                status_line = connection.recv(20).decode().split()
                if len(status_line) > 1 and status_line[1] in expected:
                    return
        except OSError:
            pass
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """TCP ports of loopback, as are those that are GRPC_OFFSET higher."""
    ports: list[int] = []
    for port in range(18_000 + os.getpid() % 5000, 40_000):
        if all(_is_free(candidate) for candidate in (port, port + GRPC_OFFSET)):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
