"""The subprocess in which untrusted files are read."""

from pathlib import Path

import pytest

from registry.artifacts import proof, sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.isolation import processes
from registry.runtimes.base import LoadOptions
from registry.testing import trained_models


def test_a_crash_is_explained_with_its_signal() -> None:
    message = sandbox._exit_message(-11, sandbox.DEFAULT_TASK, 60, 2**30)

    assert "SIGSEGV" in message


def test_the_subprocess_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("DATABASE_URL", "hidden")

    assert "hidden" not in processes.environment().values()


def test_a_reply_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_REPLY_BYTES", 10)
    trained = trained_models.diabetes_skops(tmp_path / "model.skops")

    with pytest.raises(ArtifactRejected, match="gave no valid reply"):
        proof.prove(
            trained.path,
            framework="sklearn",
            options=LoadOptions(),
            declared=None,
            example=[],
            timeout_seconds=120.0,
            memory_bytes=2**32,
        )


@pytest.mark.parametrize("reply", [b"", b"[", b"[" * 100_000, b"7", b'{"rejected": [1, 2]}'])
def test_a_reply_that_is_none_is_a_rejection(reply: bytes) -> None:
    with pytest.raises(ArtifactRejected, match="gave no valid reply"):
        sandbox._read_reply(reply)


@pytest.mark.usefixtures("in_process_sandbox")
def test_the_sandbox_of_tests_proves_and_rejects_without_a_process(tmp_path: Path) -> None:
    trained = trained_models.diabetes_skops(tmp_path / "model.skops")

    def prove_file(declared: dict[str, object]) -> proof.Proof:
        return proof.prove(
            trained.path,
            framework="sklearn",
            options=LoadOptions(),
            declared=declared,
            example=[],
            timeout_seconds=0.0,
            memory_bytes=0,
        )

    assert prove_file({}).libraries["scikit-learn"]
    with pytest.raises(ArtifactRejected, match="no input 'other'"):
        prove_file({"inputs": [{"name": "other"}]})
