"""A temporary folder whose disk is full: no worker may die of it."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from mlapi.server import run_folder
from mlapi.server.run_folder import RunFolderError
from mlapi.server.tests.serving import (
    STOP_SECONDS,
    get,
    serving,
    wait_until,
)
from registry.testing.folders import small_disk
from registry.testing.processes import free_port

METRICS = {"Authorization": "Bearer secret"}


@pytest.mark.slow
@pytest.mark.parametrize("kib", [64, 2048])
def test_the_service_starts_and_goes_on(database_url: str, tmp_path: Path, kib: int) -> None:
    port = free_port()
    with small_disk(tmp_path / "disk", kib=kib) as disk:
        (disk / "other").write_bytes(b"x" * (kib - 16) * 1024)
        with serving(database_url, port, TMPDIR=str(disk), METRICS_TOKEN="secret") as process:
            wait_until(lambda: b"TMPDIR" in get(port, "/health/ready")[1])
            for number in range(50):
                assert get(port, f"/api/v1/models/?page={number}")[0] == 401
            scrape = get(port, "/metrics", **METRICS)
            process.terminate()
            _, errors = process.communicate(timeout=STOP_SECONDS)

    assert process.returncode == 0
    assert scrape[0] == 200
    assert b"was ended by" not in errors
    assert b"No space left on device" in errors


def test_without_room_for_its_folder_the_server_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(prefix: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", fail)

    with pytest.raises(RunFolderError) as caught, run_folder.created():
        pass

    assert "No space left on device. Make room there, or set TMPDIR" in str(caught.value)
    assert "\n" not in str(caught.value)
