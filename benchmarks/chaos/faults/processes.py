"""Processes of the service are killed, or run short of descriptors."""

import contextlib
import os
import random
import shutil
import signal

from benchmarks.chaos.faults.base import Effects, Fault, NotPossible
from benchmarks.traffic.slow_clients import Behavior, slow_clients

KILL_PERIOD_SECONDS = 1.5
MAX_DESCRIPTORS = 128


class WorkerKilled(Fault):
    """One worker is killed; the others go on."""

    name = "kill -9 of a worker"
    group = "processes"
    effects = Effects(cuts_requests=True)

    def begin(self) -> None:
        _kill(random.choice(self.system.service.worker_pids()))  # noqa: S311


class WorkersKilled(Fault):
    """Every worker is killed as soon as it is there, as by a client that repeats a poison row."""

    name = "kill -9 of every worker, repeated"
    group = "processes"
    effects = Effects(cuts_requests=True, is_unready=True)
    _n_kills = 0

    def proceed(self, elapsed_seconds: float) -> None:
        if elapsed_seconds >= self._n_kills * KILL_PERIOD_SECONDS:
            self._n_kills += 1
            for pid in self.system.service.worker_pids():
                _kill(pid)


class ParentKilled(Fault):
    """The parent is killed once; its workers are left to notice, and an init starts it again."""

    name = "kill -9 of the parent"
    group = "processes"
    # Whatever else happens meanwhile, a start must not need longer.
    effects = Effects(cuts_requests=True, restarts_service=True)

    def begin(self) -> None:
        self._restarts = self.system.service.restarts
        os.kill(self.system.service.server.pid, signal.SIGKILL)

    def violations(self) -> list[str]:
        restarts = self.system.service.restarts - self._restarts
        # A port that the old workers still hold refuses the new parent, again and again.
        return [] if restarts else ["the parent was not started again"]


class SlowClients(Fault):
    """Clients that hold connections; see `traffic.slow_clients`."""

    group = "sockets"
    behavior: Behavior = "drip"
    has_token = False
    count = 200

    def begin(self) -> None:
        headers = self.system.installation.headers
        token = headers["Authorization"].removeprefix("Bearer ") if self.has_token else ""
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(
            slow_clients(self.system.port, count=self.count, behavior=self.behavior, token=token)
        )

    def end(self) -> None:
        self._stack.close()


class SlowBodies(SlowClients):
    name = "200 slow bodies, anonymous"


class SlowBodiesWithToken(SlowClients):
    name = "200 slow bodies, with a token"
    has_token = True


class SlowHeaders(SlowClients):
    name = "200 slow heads"
    behavior = "headers"


class DescriptorsShort(SlowClients):
    """The service may open few files (`ulimit -n`), and idle connections take them."""

    name = f"{MAX_DESCRIPTORS} descriptors, 200 idle connections"
    behavior = "idle"
    # Connections that wait are closed to make room, and a caller may be about to use one.
    effects = Effects(cuts_requests=True)

    def prepare(self) -> None:
        if shutil.which("prlimit") is None:
            raise NotPossible("there is no prlimit (util-linux)")
        limits = f"--nofile={MAX_DESCRIPTORS}:{MAX_DESCRIPTORS}"
        self.system.service.prefix = ["prlimit", limits]
        self.system.service.restart()

    def restore(self) -> None:
        self.system.service.prefix = []
        self.system.service.restart()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
