"""A side that is monitored: constraints, a reference, four monitors, and a worker that counts.

The worker is stopped while the other side is measured, so that all its work falls into the runs of
the side whose predictions it counts.
"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator

from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server
from benchmarks.harness.service import CommandFailed, Installation, RunningService

MONITORS = "/api/v1/monitors/"
# Few windows end during the runs: what is measured is the counting.
WINDOWS_HOURS = (1, 6, 24, 168)
REFERENCE_ROWS = 1500
# Beyond all values of the data set.
CONSTRAINTS = [{"min": -100.0}, {"max": 100.0, "on_violation": "flag"}]
# A signature to register with: constraints on each feature of the model.
SIGNATURE = json.dumps({"inputs": [{"name": "X", "constraints": CONSTRAINTS}]})


def monitor(running: RunningService, model: TrainedModel) -> None:
    """Set a reference and create the monitors."""
    installation = running.installation
    file = installation.folder / "reference.ndjson"
    rows = [model.rows[place % len(model.rows)] for place in range(REFERENCE_ROWS)]
    file.write_text("".join(f"{json.dumps({'features': list(row)})}\n" for row in rows))
    installation.manage("set_reference", f"{model.name}:1", str(file))
    with running.client() as client:
        for hours in WINDOWS_HOURS:
            body = {"model": model.name, "name": f"{hours} hours", "window_hours": hours}
            response = client.post(MONITORS, {**body, "segments": [{"arm": True}]})
            if response.status != 201:
                raise CommandFailed(f"POST {MONITORS}: {response.status} {response.body!r}")


class Worker:
    """`manage.py work`, which runs only within `running()`."""

    def __init__(self, installation: Installation) -> None:
        manage = str(installation.checkout / "manage.py")
        self.server = Server(
            [installation.interpreter.python, manage, "work"],
            environment=installation.environment,
            folder=installation.checkout,
            log=installation.folder / "worker.log",
        )

    def __enter__(self) -> "Worker":
        self.server.__enter__()
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(self, *error: object) -> None:
        self._signal(signal.SIGCONT)
        self.server.stop()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        os.kill(self.server.pid, number)
