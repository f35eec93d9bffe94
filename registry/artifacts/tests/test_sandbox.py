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
