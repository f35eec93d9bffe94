import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from mlapi.configuration import databases
from mlapi.configuration.temporary_folder import NoTemporaryFolder, ensure_temporary_folder


@pytest.fixture
def read_only_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system in which no usual folder for temporary files can be written to."""

    def fail() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", fail)
    monkeypatch.setenv("TMPDIR", "/nowhere")


def test_model_path_serves_where_nothing_else_is_writable(
    tmp_path: Path, read_only_system: None, settings: Any
) -> None:
    settings.MODEL_PATH = tmp_path / "models"

    ensure_temporary_folder()

    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path / "models/.temporary")
    tempfile.NamedTemporaryFile().close()


def test_error_names_both_settings_if_nothing_is_writable(
    read_only_system: None, settings: Any
) -> None:
    settings.MODEL_PATH = Path("/proc/models")

    with pytest.raises(NoTemporaryFolder, match=r"set TMPDIR.*MODEL_PATH \(/proc/models\)"):
        ensure_temporary_folder()


def test_settings_can_be_read_without_a_temporary_folder(read_only_system: None) -> None:
    assert databases._test_database().name.endswith(".sqlite3")
