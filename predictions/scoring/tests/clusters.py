"""A Dask cluster with TLS on loopback, as an operator starts it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from distributed import Security

from predictions.scoring.engines.opening import open_engine
from predictions.scoring.engines.options import EngineOptions
from registry.testing.processes import PROJECT, free_port


class Cluster:
    """A scheduler and its workers, with certificates in `folder`."""

    def __init__(self, folder: Path) -> None:
        security = Security.temporary()  # type: ignore[no-untyped-call]
        contents = (security.tls_ca_file, security.tls_client_cert, security.tls_client_key)
        paths = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(content)
        self.certificates = (str(paths[0]), str(paths[1]), str(paths[2]))
        self.workers: list[subprocess.Popen[bytes]] = []
        self._start_all()

    def _start_all(self) -> None:
        self.address = f"tls://127.0.0.1:{free_port()}"
        self.scheduler = self._start("scheduler", "--host", self.address, "--no-dashboard")
        self.add_worker()

    def add_worker(self) -> None:
        process = self._start(
            *("worker", self.address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard"),
            *("--nthreads", "1", "--protocol", "tls"),
        )
        self.workers.append(process)

    def revive(self) -> None:
        """Start what a test has killed."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        if self.scheduler.poll() is not None:
            self.stop()
            self._start_all()
        elif not self.workers:
            self.add_worker()

    def _start(self, command: str, *arguments: str) -> "subprocess.Popen[bytes]":
        names = ("--tls-ca-file", "--tls-cert", "--tls-key")
        tls = [part for pair in zip(names, self.certificates, strict=True) for part in pair]
        program = f"from distributed.cli.dask_{command} import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments, *tls],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def engine(self) -> Any:
        return open_engine(
            EngineOptions(name="dask", scheduler=self.address, certificates=self.certificates)
        )

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
        self.workers = []
