"""Models that hang, or that kill the process that scores them."""

import contextlib
import os
import signal

from benchmarks.chaos.bad_inputs import ENDLESS, POISON
from benchmarks.chaos.faults.base import Effects, Fault, NotPossible, Refused
from benchmarks.harness import processes
from benchmarks.harness.service import CommandFailed
from benchmarks.traffic.asking import Askers
from benchmarks.traffic.kinds import Row
from benchmarks.traffic.stand_in import BAD_INPUT

N_CALLERS = 64
WAIT_SECONDS = 60
CRASH_PERIOD_SECONDS = 1.0


class BadModel(Fault):
    """Callers ask a bad model about the row that it is bad at."""

    model = ""
    row: Row = ()
    count = N_CALLERS
    pause_seconds = 1.0

    def prepare(self) -> None:
        if reason := self.system.refused_models.get(self.model):
            answer = reason.strip().splitlines()[-1]
            raise Refused(answer.partition(" was not registered: ")[2] or answer)
        self._askers = Askers(
            self.system.client,
            self.events,
            model_id=self.system.model_id(self.model),
            row=self.row,
            count=self.count,
            pause_seconds=self.pause_seconds,
        )

    def begin(self) -> None:
        self._askers.start()

    def end(self) -> None:
        self._askers.stop()

    def restore(self) -> None:
        self._askers.wait(WAIT_SECONDS)
        # Other faults use this model again.
        with contextlib.suppress(CommandFailed):
            self.system.installation.manage("release_model", f"{self.model}:1")


class HungRemote(BadModel):
    name = "a remote model hangs, 64 callers"
    group = "remote"
    model = "hangs"
    row = (BAD_INPUT, 1.0, 1.0, 1.0)


class DrippingRemote(BadModel):
    name = "a remote model drips its headers, 64 callers"
    group = "remote"
    model = "drips"
    row = (BAD_INPUT, 1.0, 1.0, 1.0)


class EndlessFile(BadModel):
    name = "a file loops for ever, 64 callers"
    group = "file"
    model = "endless"
    row = (1.0, 1.0, 1.0, ENDLESS)


class PoisonFile(BadModel):
    """A caller repeats a row that kills whatever scores it, as a client that retries does."""

    name = "a poison row of a file"
    group = "file"
    model = "poison"
    row = (POISON, 1.0, 1.0, 1.0)
    count = 1
    pause_seconds = 0.2
    effects = Effects(cuts_requests=True)


class ScorerCrashes(BadModel):
    """The process that scores a file dies by SIGSEGV in its call, again and again.

    It is told from the workers as their child; without one, the fault is not possible.
    """

    name = "SIGSEGV in the scorer of a file"
    group = "file"
    model = "endless"
    row = (1.0, 1.0, 1.0, ENDLESS)
    count = 2
    _n_crashes = 0

    def prepare(self) -> None:
        super().prepare()
        good_row = [1.0, 1.0, 1.0, 1.0]
        body = {"model": self.model, "input_data": {"features": good_row}}
        # A scorer may start with the first call, and each worker has its own.
        for _ in range(8):
            with self.system.client() as client:
                client.post("/api/v1/predictions/", body)
        if not self._scorers():
            raise NotPossible("the service scores every file in its workers")

    def proceed(self, elapsed_seconds: float) -> None:
        if elapsed_seconds < (self._n_crashes + 1) * CRASH_PERIOD_SECONDS:
            return
        self._n_crashes += 1
        for pid in self._scorers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSEGV)

    def _scorers(self) -> list[int]:
        workers = self.system.service.worker_pids()
        return [child for worker in workers for child in processes.children(worker)]
