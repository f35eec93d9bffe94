"""Pickles that were accepted, and then do harm in the confined process."""

from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.conversion.pickles import export as exporting
from registry.conversion.pickles.confinement import Confinement, probe
from registry.conversion.pickles.launch import export
from registry.conversion.pickles.listing import UNPACKED
from registry.runtimes.base import LoadOptions

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


@pytest.fixture(autouse=True)
def _skip_without_protections() -> None:
    if probe().gaps:
        pytest.skip("this system cannot confine a process completely")


def hostile_export(content: bytes, folder: Path, **limits: Any) -> Any:
    (folder / UNPACKED).write_bytes(content)
    return export(
        folder,
        writer="pickle",
        target=None,
        confinement=limits.pop("confinement", probe()),
        options=LoadOptions(),
        declared=None,
        example=(),
        **{"timeout_seconds": 60, "memory_bytes": 2**30, "file_bytes": 2**20, **limits},
    )


def evaluates(code: str) -> bytes:
    return b"cbuiltins\neval\n(S" + repr(code).encode() + b"\ntR."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("__import__('socket').create_connection(('127.0.0.1', 9))", "not allowed to do"),
        ("__import__('os').fork()", "not allowed to do"),
        ("open('/etc/passwd').read()", "not allowed to do"),
        ("open('/tmp/mlapi-hostile', 'w')", "not allowed to do"),
        ("__import__('sys').exit()", "SystemExit"),
        ("__import__('os')._exit(0)", "no valid reply"),
        ("bytearray(2**40)", "needs more than 1024 MiB"),
        ("[bytearray(2**20) for i in range(10**6)]", "needs more than 1024 MiB"),
        ("[__import__('mmap').mmap(-1, 2**30) for i in range(1000)]", "Cannot allocate memory"),
        ("__import__('os').environ['PATH'] and __import__('os').environ['DATABASE_URL']",
         "KeyError: 'DATABASE_URL'"),
    ],
)  # fmt: skip
def test_a_hostile_pickle_is_contained(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")

    with pytest.raises(ArtifactRejected, match=message):
        hostile_export(evaluates(code), tmp_path)

    assert not Path("/tmp/mlapi-hostile").exists()  # noqa: S108 - nothing was written there


def test_a_hostile_pickle_cannot_fill_the_disk(tmp_path: Path) -> None:
    target = str(tmp_path / "model.skops")

    with pytest.raises(ArtifactRejected, match="File too large"):
        hostile_export(evaluates(f"open({target!r}, 'wb').write(bytes(2**24))"), tmp_path)

    assert (tmp_path / "model.skops").stat().st_size <= 2**20


def test_an_endless_loop_ends_at_the_time_limit(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRejected, match="took longer than 2 s"):
        hostile_export(evaluates("[0 for _ in iter(int, 1)]"), tmp_path, timeout_seconds=2)


def test_a_reply_that_a_hostile_pickle_writes_is_checked(tmp_path: Path) -> None:
    code = (
        "[__import__('os').write(n, b'{\"framework\": \"../x\"}') for n in range(3, 9)"
        " if __import__('os').path.exists(f'/proc/self/fd/{n}')] and __import__('os')._exit(0)"
    )

    with pytest.raises(ArtifactRejected, match="no valid reply"):
        hostile_export(evaluates(code), tmp_path)


def test_nothing_is_loaded_with_less_protection_than_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "confine", lambda **_: Confinement())
    request = {"folder": str(tmp_path), "confinement": probe().as_json()}
    monkeypatch.setattr(exporting, "_limit_addresses", lambda: None)

    with pytest.raises(ArtifactRejected, match="could still use the network"):
        exporting.export_confined(request)
