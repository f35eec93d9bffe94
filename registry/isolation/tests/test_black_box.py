"""What outlives a worker: the versions that were in a call when it died."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from registry.isolation import processes
from registry.isolation.black_box import (
    SIZE_BYTES,
    BlackBox,
    WatchedRuntime,
    left_behind,
    read_death,
)

DYING_WORKER = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from registry.isolation.black_box import BlackBox, WatchedRuntime, watch_signals

def die(inputs):
    os.kill(os.getpid(), int(sys.argv[2]))

box = BlackBox(Path(sys.argv[1]))
watch_signals(Path(sys.argv[1]))
WatchedRuntime(SimpleNamespace(signature=None, libraries={}, predict=len), 7, box).predict({})
WatchedRuntime(SimpleNamespace(signature=None, libraries={}, predict=die), 8, box).predict({})
"""


def test_a_worker_keeps_the_box_whose_place_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "box"
    BlackBox(path).cells[0] = 7
    path.with_name("box.trace").write_text("Fatal Python error: Segmentation fault")

    BlackBox(path)

    assert [read_death(kept).suspects for kept in left_behind(path)] == [[7]]
    assert left_behind(path) == []
    assert list(tmp_path.iterdir()) == [path]


def watched(box: BlackBox, predict: Any, version_id: int = 5) -> WatchedRuntime:
    runtime: Any = SimpleNamespace(signature=None, libraries={}, predict=predict)
    return WatchedRuntime(runtime, version_id, box)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGSEGV, [8]), (signal.SIGABRT, [8]), (signal.SIGKILL, [])]
)
def test_the_version_in_whose_call_a_worker_crashed_is_read_once(
    number: int, expected: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "box"

    subprocess.run(
        [sys.executable, "-c", DYING_WORKER, str(path), str(int(number))],
        cwd=processes.PROJECT_ROOT,
        check=False,
    )

    assert read_death(path).suspects == expected
    assert read_death(path).suspects == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("", True),
        ('  File "/x/registry/isolation/black_box.py", line 9 in predict\n', True),
        ('  File "/x/site-packages/prometheus_client/mmap_dict.py", line 9 in write\n', False),
        ('  File "/x/site-packages/skops/io.py", line 9 in load\n  ...\n', True),
    ],
)
def test_a_crash_elsewhere_is_not_certainly_that_of_the_version_in_a_call(
    stack: str, expected: bool, tmp_path: Path
) -> None:
    BlackBox(tmp_path / "box").cells[0] = 7
    trace = (
        f"Fatal Python error: Bus error\n\nCurrent thread 0x1 (most recent call first):\n{stack}"
    )
    (tmp_path / "box.trace").write_text(trace)

    assert read_death(tmp_path / "box") == ([7], expected)


def test_a_call_that_hung_is_no_crash(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "box")
    box.cells[0], box.cells[1] = 7, time.monotonic_ns() - 60 * 10**9

    assert read_death(tmp_path / "box") == ([7], False)


def test_a_version_is_noted_while_it_is_loaded() -> None:
    box = BlackBox()

    [call] = box.load(5, box.calls)

    assert call.version_id == 5
    assert call.seconds < 0
    assert box.calls() == []


def test_a_process_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "box")
    box.cells[0], box.cells[-1] = 7, os.getppid()

    assert read_death(tmp_path / "box").suspects == []
    assert (tmp_path / "box").exists()


def test_a_call_that_hung_is_suspected_however_the_worker_ended(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "box")
    box.cells[0], box.cells[1] = 7, time.monotonic_ns() - 60 * 10**9
    box.cells[2], box.cells[3] = 8, time.monotonic_ns()

    assert read_death(tmp_path / "box").suspects == [7]


def test_a_call_is_noted_while_it_runs() -> None:
    box = BlackBox()
    seen: list[list[int]] = []

    def predict(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append([call.version_id for call in box.calls()])
        return inputs

    watched(box, predict).predict({})

    assert seen == [[5]]
    assert box.calls() == []


def test_a_call_that_fails_is_not_noted_any_longer() -> None:
    box = BlackBox()

    with pytest.raises(ZeroDivisionError):
        watched(box, lambda inputs: 1 / 0).predict({})

    assert box.calls() == []


def test_threads_that_end_give_their_places_back() -> None:
    box = BlackBox()
    n_free = len(box._free)

    for _ in range(20):
        thread = threading.Thread(target=watched(box, len).predict, args=[{}])
        thread.start()
        thread.join()

    assert len(box._free) == n_free


@pytest.mark.parametrize("content", [None, b"", b"short", b"\0" * SIZE_BYTES])
def test_a_box_without_calls_names_nobody(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "box"
    if content is not None:
        path.write_bytes(content)

    assert read_death(path).suspects == []


def test_a_worker_without_room_for_its_box_keeps_it_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    box = BlackBox(tmp_path / "box")

    watched(box, lambda inputs: box.calls()).predict({})

    assert "No space left on device" in caplog.text
    assert read_death(tmp_path / "box").suspects == []


def test_a_box_has_its_room_on_the_disk_before_it_is_written(tmp_path: Path) -> None:
    BlackBox(tmp_path / "box")

    assert (tmp_path / "box").stat().st_blocks * 512 >= SIZE_BYTES


def test_a_crash_is_told_on_stderr_if_its_file_cannot_be_made(tmp_path: Path) -> None:
    worker = subprocess.run(
        [sys.executable, "-c", DYING_WORKER, str(tmp_path / "missing" / "box"), "11"],
        cwd=processes.PROJECT_ROOT,
        capture_output=True,
        check=False,
    )

    assert worker.returncode == -signal.SIGSEGV
    assert b"Fatal Python error: Segmentation fault" in worker.stderr
