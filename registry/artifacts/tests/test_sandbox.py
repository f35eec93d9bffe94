"""The subprocess in which untrusted files are read."""

import pytest

from registry.artifacts import sandbox


def test_a_crash_is_explained_with_its_signal() -> None:
    message = sandbox._exit_message(-11, sandbox.DEFAULT_TASK, 60, 2**30)

    assert "SIGSEGV" in message


def test_the_subprocess_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("DATABASE_URL", "hidden")

    assert "hidden" not in sandbox._environment().values()
