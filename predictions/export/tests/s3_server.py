"""A real server of S3, SeaweedFS, for the tests of exports to object storage."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ACCESS_KEY = "exporter"
SECRET_KEY = "only for tests on loopback"
BUCKET = "log"
READY_SECONDS = 60
# Each of its servers also listens on the port that is this much higher.
GRPC_OFFSET = 10_000
PROGRAM = Path(sys.executable).parent / "weed"


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """A running server with an empty bucket; the variables by which clients find it."""
    names = ("master", "volume", "filer", "s3")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    command = [str(PROGRAM), "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-dir={folder}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    # Otherwise a second server on this machine ends, because these ports are taken.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
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
        yield variables
    finally:
        # It takes half a minute to end by itself, and its data is thrown away.
        process.kill()
        process.wait()


def _create_bucket(process: subprocess.Popen[bytes], filer_port: int) -> None:
    """A bucket is a folder of the filer, which needs no signed request."""
    deadline = time.monotonic() + READY_SECONDS
    request = f"POST /buckets/{BUCKET}/ HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    while True:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server is not ready"
        try:
            with socket.create_connection(("127.0.0.1", filer_port), timeout=2) as connection:
                connection.sendall(request)
                if connection.recv(20).split()[1:2] in ([b"200"], [b"201"]):
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
