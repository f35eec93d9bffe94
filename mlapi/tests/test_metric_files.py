"""Workers that count for each other on a full disk, where a write into a mapped file is SIGBUS."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from mlapi import metric_files
from mlapi.metric_files import ReservedFile
from registry.isolation.processes import PROJECT_ROOT
from registry.testing.folders import small_disk

NAME = "mlapi_test"
ROOM_KIB = 256
# Counts in a folder until its disk is full, and then in as many new series again.
COUNTING_WORKER = """
import sys
from mlapi import metric_files

metric_files.reserve_room()
from prometheus_client import Counter, Histogram

requests = Counter("requests", "Requests.", ["route"])
durations = Histogram("durations", "Durations.", ["route"])
for number in range(4000):
    route = f"{number:0100}"
    requests.labels(route).inc()
    durations.labels(route).observe(1)
print(requests.labels(route)._value.get())
"""


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the disk has room: without, nothing can be reserved."""
    has_room, reserve = [True], os.posix_fallocate

    def reserve_if_there_is_room(descriptor: int, offset: int, length: int) -> None:
        if not has_room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", reserve_if_there_is_room)
    monkeypatch.setattr(metric_files, "SECONDS_BETWEEN_TRIES", 0.0)
    monkeypatch.setattr(values, "MmapedDict", ReservedFile)
    return has_room


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def counter(value_class: Any, label: str) -> Any:
    return value_class("counter", NAME, f"{NAME}_total", ("label",), (label,), "A test.")


def collected() -> dict[str, float]:
    """What all processes have counted, by label."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    samples = (sample for family in registry.collect() for sample in family.samples)
    return {sample.labels["label"]: sample.value for sample in samples}


@pytest.mark.parametrize("is_full_at_start", [False, True])
def test_a_worker_survives_a_full_disk(tmp_path: Path, is_full_at_start: bool) -> None:
    with small_disk(tmp_path / "disk", kib=ROOM_KIB) as disk:
        if is_full_at_start:
            (disk / "other").write_bytes(b"x" * (ROOM_KIB - 4) * 1024)
        worker = subprocess.run(
            [sys.executable, "-c", COUNTING_WORKER],
            cwd=PROJECT_ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(disk)},
            capture_output=True,
            text=True,
            check=False,
        )
        has_files = any(disk.glob("*.db"))

    assert (worker.returncode, worker.stdout) == (0, "1.0\n"), worker.stderr
    # One for the counters, one for the histograms.
    assert worker.stderr.count("No space left on device") == 2
    assert has_files is not is_full_at_start


@pytest.mark.usefixtures("folder")
def test_counts_of_a_full_disk_are_shared_once_there_is_room(
    disk: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    value_class = values.MultiProcessValue(lambda: 4242)  # type: ignore[no-untyped-call]
    disk[0] = False
    first, second = counter(value_class, "first"), counter(value_class, "second")
    first.inc(2)
    second.inc(3)
    without_room = collected()
    disk[0] = True
    first.inc(1)

    assert without_room == {}
    assert (first.get(), second.get()) == (3, 3)
    assert collected() == {"first": 3}
    second.inc(1)
    assert collected() == {"first": 3, "second": 4}
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("folder")
def test_old_series_are_counted_on_while_there_is_no_room_for_new_ones(disk: list[bool]) -> None:
    value_class = values.MultiProcessValue(lambda: 4242)  # type: ignore[no-untyped-call]
    old = counter(value_class, "old")
    disk[0] = False
    long = counter(value_class, "x" * metric_files.INITIAL_BYTES)
    long.inc(1)
    old.inc(1)

    assert collected() == {"old": 1}
    disk[0] = True
    long.inc(1)
    old.inc(1)
    assert collected() == {"old": 2, "x" * metric_files.INITIAL_BYTES: 2}


def test_a_file_of_an_earlier_process_with_this_id_keeps_its_counts(
    folder: Path, disk: list[bool]
) -> None:
    for _ in range(2):
        value_class = values.MultiProcessValue(lambda: 4242)  # type: ignore[no-untyped-call]
        counter(value_class, "label").inc(1)
        value_class.close_all_files()

    assert collected() == {"label": 2}
    assert [file.name for file in folder.iterdir()] == ["counter_4242.db"]
