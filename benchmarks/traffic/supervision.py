"""Keeps a service running as an init system would: restarted whenever it exits."""

import threading
import time

from benchmarks.harness.client import Client
from benchmarks.harness.processes import Server
from benchmarks.harness.service import Installation, RunningService

RESTART_PAUSE_SECONDS = 0.2
CHECK_SECONDS = 0.05
HEALTH_SECONDS = 5


class SupervisedService:
    """An installation's server, started again within RESTART_PAUSE_SECONDS after each exit."""

    def __init__(
        self, installation: Installation, *, workers: int, port: int, health_port: int | None = None
    ) -> None:
        self.installation, self.port, self.health_port = installation, port, health_port
        self.restarts = 0
        # A program that the next start runs the server with; see Installation.server.
        self.prefix: list[str] = []
        self._workers = workers
        self._running = self._create()
        # Workers may outlive a parent that was killed.
        self._former: list[Server] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "SupervisedService":
        self._running.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.server.stop()
        self._kill_former()

    @property
    def server(self) -> Server:
        return self._running.server

    def worker_pids(self) -> list[int]:
        """The processes that serve requests; none while the service is being started."""
        if self.health_port is None:
            return self.server.workers()
        # The process of the health port looks like a worker from outside.
        try:
            with Client(self.health_port, timeout=HEALTH_SECONDS) as client:
                workers = client.get("/health/live").json()["workers"]
        except OSError:
            return []
        return [worker["pid"] for worker in workers if "pid" in worker]

    def is_ready(self) -> bool:
        """Whether it says that it is ready; False while it is being started."""
        try:
            with Client(self.health_port or self.port, timeout=HEALTH_SECONDS) as client:
                return client.get("/health/ready").status == 200
        except OSError:
            return False

    def restart(self) -> None:
        """Stop and start, such as with another environment; returns when the service is ready."""
        with self._lock:
            self.server.stop()
            self._kill_former()
            self._running = self._create()
            self._running.__enter__()

    def _create(self) -> RunningService:
        return self.installation.server(workers=self._workers, port=self.port, prefix=self.prefix)

    def _watch(self) -> None:
        while not self._stop.wait(CHECK_SECONDS):
            with self._lock:
                if not self.server.is_running():
                    time.sleep(RESTART_PAUSE_SECONDS)
                    self._former.append(self.server)
                    self._running = self._create()
                    # Not its `with` block: nobody waits here until it is ready.
                    self.server.__enter__()
                    self.restarts += 1

    def _kill_former(self) -> None:
        for server in self._former:
            server.kill()
        self._former.clear()
