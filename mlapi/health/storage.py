"""Whether artifacts are available, and the folders that the service writes to can be used."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from registry.loading.availability import storage_problem, unavailable_versions
from registry.models import ModelVersion

logger = logging.getLogger(__name__)

CACHED = "cached"
MAX_NAMES = 10
_missing_before: frozenset[int] = frozenset()


def artifact_state(live_versions: Sequence[ModelVersion]) -> str:
    """Whether the models of live versions are available, and uploads can be received.

    - "ok";
    - "cached": the object storage cannot be used, but no live version needs it: ready;
    - "missing": the model of a live version is not available;
    - "unavailable": none of them is. The folder is not the right one, such as the place where a
      volume should be mounted, or the object storage cannot be used and nothing is cached;
    - "read-only": MODEL_PATH cannot be written.
    """
    missing = unavailable_versions(live_versions)
    _log_missing(missing)
    if missing:
        return "unavailable" if len(missing) == len(live_versions) else "missing"
    folder = _existing(Path(settings.MODEL_PATH))
    if not folder.is_dir():
        return "unavailable"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "read-only"
    url: str = settings.MODEL_STORAGE
    return CACHED if url and storage_problem(url) else "ok"


def _log_missing(missing: Sequence[ModelVersion]) -> None:
    """Log which live versions are missing, when that changes; probes show no names."""
    global _missing_before
    now = frozenset(version.pk for version in missing)
    if now - _missing_before:
        names = ", ".join(str(version) for version in missing[:MAX_NAMES])
        more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
        logger.error("The artifacts of live versions are not available: %s%s", names, more)
    _missing_before = now


def _existing(folder: Path) -> Path:
    """The folder, or what it will be created in: the first upload creates MODEL_PATH."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def disk_state() -> str:
    """`ok`, or `full:` and the settings that name a folder whose disk is full."""
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
