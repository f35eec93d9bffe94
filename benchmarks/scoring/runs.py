"""Runs `manage.py score`, also with a process of it killed on the way."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from benchmarks.harness.service import CommandFailed, Installation

N_FEATURES = 20
MOMENTS = ("started", "finished")
Victim = Literal["worker", "driver"]
# How workers show in the list of processes.
WORKERS = (b"scoring.engines.worker", b"spawn_main")


@dataclass(frozen=True, slots=True)
class Run:
    """One complete run: how long it took, what it made, and the most memory of a worker.

    `scoring_seconds` begin when the plan is made, and so leave out the start of the command and the
    digest of the input; those of an interrupted run have no meaning.
    """

    name: str
    rows: int
    seconds: float
    scoring_seconds: float
    sha256: str
    peak_memory_mib: float


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores the same table again and again, each time into a folder of its own."""

    installation: Installation
    table: Path
    folder: Path
    part_rows: int

    def run(self, name: str, engine: str, workers: int) -> Run:
        started = time.monotonic()
        process = self._start(name, engine, workers)
        if process.wait():
            raise CommandFailed(f"score ended with {process.returncode}: {name}")
        return self._result(name, time.monotonic() - started)

    def run_killed(self, name: str, engine: str, victim: Victim) -> Run:
        """Kill the victim once some parts are done, then run the command again."""
        started = time.monotonic()
        process = self._start(name, engine, 2)
        self._await_receipts(self.folder / name, process)
        # The scheduler of a cluster for one run alone is a part of the driver.
        pids = [process.pid] if victim != "worker" else workers_of(process.pid)[:1]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        again = self._start(name, engine, 2)
        if again.wait():
            raise CommandFailed(f"score ended with {again.returncode}: {name}")
        return self._result(name, time.monotonic() - started)

    def _start(self, name: str, engine: str, workers: int) -> "subprocess.Popen[bytes]":
        installation = self.installation
        command = [installation.interpreter.python, str(installation.checkout / "manage.py")]
        command += ["score", "--from", str(self.table), "--to", str(self.folder / name)]
        command += ["--model", "network:1", "--id-column", "id", "--engine", engine]
        command += ["--workers", str(workers), "--part-rows", str(self.part_rows)]
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=installation.checkout,
            env=installation.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _await_receipts(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        while process.poll() is None and not list(folder.glob("_part-*")):
            time.sleep(0.01)

    def _result(self, name: str, seconds: float) -> Run:
        manifest = json.loads((self.folder / name / "_manifest.json").read_text())
        begin, end = (datetime.fromisoformat(manifest[f"{moment}_at"]) for moment in MOMENTS)
        return Run(
            name,
            manifest["rows"],
            seconds,
            (end - begin).total_seconds(),
            manifest["sha256"],
            manifest["peak_memory_mib"],
        )


def workers_of(driver: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            command = (path / "cmdline").read_bytes()
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == driver and any(name in command for name in WORKERS):
                found.append(int(path.name))
    return found
