"""Whether the folders that the service writes to can be used."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections


def storage_state(live_artifacts: Sequence[str]) -> Mapping[str, str]:
    """`artifacts`: ok, unavailable or read-only; `disk`: ok, or the settings whose disk is full.

    `live_artifacts` are paths below MODEL_PATH of versions that aliases hold. Without any of them,
    the folder is not the right one, such as the place where a volume should be mounted.
    """
    folder = Path(settings.MODEL_PATH)
    return {"artifacts": artifact_state(folder, live_artifacts), "disk": disk_state()}


def artifact_state(folder: Path, live_artifacts: Sequence[str]) -> str:
    if live_artifacts and not any((folder / path).exists() for path in live_artifacts):
        return "unavailable"
    folder = _existing(folder)
    if not folder.is_dir():
        return "unavailable"
    return "ok" if os.access(folder, os.W_OK | os.X_OK) else "read-only"


def _existing(folder: Path) -> Path:
    """The folder, or what it will be created in: the first upload creates MODEL_PATH."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def disk_state() -> str:
    full = [name for name, folder in _written_folders() if _is_full(folder)]
    return f"full: {', '.join(full)}" if full else "ok"


def _written_folders() -> Iterator[tuple[str, Path]]:
    """The folders that requests write to, by the setting that chooses each."""
    yield "MODEL_PATH", Path(settings.MODEL_PATH)
    yield "TMPDIR", Path(tempfile.gettempdir())
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor == "sqlite":
        yield "DATABASE_URL", Path(database.settings_dict["NAME"]).parent


def _is_full(folder: Path) -> bool:
    try:
        free_bytes = shutil.disk_usage(_existing(folder)).free
    except OSError:
        # Missing: `artifact_state` or the database's state says so.
        return False
    return free_bytes < int(settings.MIN_FREE_DISK_BYTES)
