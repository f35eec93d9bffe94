"""Both engines give the same result, whichever process is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictions.export.destinations.folder import Folder
from predictions.scoring.engines import local
from predictions.scoring.engines.opening import open_engine
from predictions.scoring.engines.options import EngineOptions
from predictions.scoring.planning import Plan, divide
from predictions.scoring.runner import Run, resume_or_start
from predictions.scoring.sources.opening import find_sources
from predictions.scoring.tests.clusters import Cluster
from predictions.scoring.tests.fakes import write_table
from predictions.scoring.work import (
    Arms,
    EngineUnavailable,
    Instructions,
    Receipt,
    ScoringFailed,
    ScoringInterrupted,
    VersionFile,
)
from registry.exact_json.values import JSONObject
from registry.testing.artifacts import Artifact
from registry.testing.processes import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.any_database]
N_ROWS = 4000
MakePlan = Callable[[str], Plan]

# A driver in a process of its own, which is killed.
DRIVER = """
import json, sys
from predictions.export.destinations.folder import Folder
from predictions.scoring.engines.local import LocalEngine
from predictions.scoring.planning import Plan
from predictions.scoring.runner import Run, resume_or_start

plan = Plan.from_json(json.load(sys.stdin))
destination = Folder(plan.instructions.destination)
plan, _ = resume_or_start(destination, plan)
Run(plan, destination).do(LocalEngine(2), {}, lambda receipt: print("done", flush=True))
"""


@pytest.fixture
def version(tmp_path: Path, iris_artifact: Artifact) -> VersionFile:
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.skops").write_bytes(iris_artifact.content)
    return VersionFile(
        id=1,
        name="iris:1",
        framework="sklearn",
        storage=str(models),
        key="model.skops",
        sha256=iris_artifact.sha256,
        size_bytes=len(iris_artifact.content),
        cache="",
        cache_bytes=0,
        signature=dict(iris_artifact.proof.signature),
        isolation="auto",
        is_suspect=False,
        trusted_types=[],
        origins=[],
        memory_bytes=2**30,
        load_seconds=60,
        call_seconds=60,
    )


@pytest.fixture
def make_plan(tmp_path: Path, version: VersionFile) -> MakePlan:
    """The plan of a run into a folder of that name, in forty parts."""
    values = np.random.default_rng(0).uniform(0, 7, (N_ROWS, 4))
    columns = {f"features[{i}]": values[:, i] for i in range(4)}
    path = write_table(tmp_path / "rows.parquet", columns, group_rows=100)
    sources, tasks = divide(find_sources([str(path)]), 100, lambda size: None)

    def make(name: str) -> Plan:
        return Plan(
            run=name,
            instructions=Instructions(
                arms=Arms(primary=version), destination=str(tmp_path / name), format="parquet"
            ),
            sources=sources,
            tasks=tasks,
            model="iris",
            alias=None,
            is_recorded=False,
            mlapi="0",
            started_at="",
        )

    return make


def carry_out(
    plan: Plan, engine: Any, progress: Callable[[Receipt], object] = lambda receipt: None
) -> JSONObject:
    destination = Folder(plan.instructions.destination)
    plan, _ = resume_or_start(destination, plan)
    run = Run(plan, destination)
    return run.seal(run.do(engine, run.receipts(), progress), "now")


@pytest.fixture
def expected(make_plan: MakePlan) -> str:
    digest: str = carry_out(make_plan("expected"), local.LocalEngine(1))["sha256"]
    return digest


def workers_of(driver: int) -> list[int]:
    """The processes of workers that a process has started, or that it has left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            command = (path / "cmdline").read_bytes()
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if local.WORKER.encode() in command and parent == driver:
                found.append(int(path.name))
    return found


def test_a_killed_worker_is_replaced(make_plan: MakePlan, expected: str) -> None:
    killed: list[int] = []

    def kill_one(receipt: Receipt) -> None:
        if len(killed) < 2 and (workers := workers_of(os.getpid())):
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    manifest = carry_out(make_plan("killed"), local.LocalEngine(2), kill_one)

    assert len(killed) == 2
    assert (manifest["rows"], manifest["sha256"]) == (N_ROWS, expected)


def test_workers_end_with_their_driver_and_a_second_run_goes_on(
    make_plan: MakePlan, expected: str
) -> None:
    plan = make_plan("driver")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    driver.stdin.write(json.dumps(plan.as_json()).encode())
    driver.stdin.close()
    assert driver.stdout.readline() == b"done\n"
    workers = workers_of(driver.pid)
    driver.kill()
    driver.wait()
    driver.stdout.close()

    assert workers
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    done = Run(plan, Folder(plan.instructions.destination)).receipts()
    assert 1 <= len(done) < len(plan.tasks)
    manifest = carry_out(plan, local.LocalEngine(2))
    assert (manifest["rows"], manifest["sha256"]) == (N_ROWS, expected)


def test_a_part_that_kills_its_workers_ends_the_run(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WORKER", "this_module_does_not_exist")

    with pytest.raises(ScoringFailed, match=r"part \d+ of .*: 3 workers died of it"):
        carry_out(make_plan("poison"), local.LocalEngine(2))


def test_a_scheduler_without_tls_is_refused() -> None:
    def opened(**options: Any) -> None:
        open_engine(EngineOptions(name="dask", **options))

    with pytest.raises(EngineUnavailable, match="must be tls://host:port"):
        opened(scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(EngineUnavailable, match="needs --tls-ca, --tls-cert and --tls-key"):
        opened(scheduler="tls://127.0.0.1:8786")
    with pytest.raises(EngineUnavailable, match="add --engine dask"):
        open_engine(EngineOptions(scheduler="tls://127.0.0.1:8786"))


# -- Dask: a scheduler and a worker as an operator starts them


def test_dask_gives_the_same_result_when_a_worker_is_killed(
    make_plan: MakePlan, expected: str, cluster: Cluster
) -> None:
    killed: list[int] = []

    def kill_one(receipt: Receipt) -> None:
        if not killed:
            first = cluster.workers[0]
            cluster.add_worker()
            killed.append(first.pid)
            first.kill()

    manifest = carry_out(make_plan("dask"), cluster.engine(), kill_one)

    assert (manifest["rows"], manifest["sha256"]) == (N_ROWS, expected)


def test_a_killed_scheduler_interrupts_the_run_and_another_goes_on(
    make_plan: MakePlan, expected: str, cluster: Cluster
) -> None:
    plan = make_plan("scheduler")

    with pytest.raises(ScoringInterrupted):
        carry_out(plan, cluster.engine(), lambda receipt: cluster.scheduler.kill())

    assert len(Run(plan, Folder(plan.instructions.destination)).receipts()) < len(plan.tasks)
    manifest = carry_out(plan, local.LocalEngine(1))
    assert (manifest["rows"], manifest["sha256"]) == (N_ROWS, expected)
