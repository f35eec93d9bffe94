"""Paths that are given as text, such as in a row or an MLmodel file. No Django here."""

import os
from pathlib import Path

from registry.artifacts.errors import ArtifactRejected


def path_below(root: Path, relative: str) -> Path:
    """The absolute path of a file below `root`, which need not exist.

    Raises ArtifactRejected if it is outside `root`: absolute, through `..`, or by a symbolic link.
    """
    base = root.resolve()
    try:
        path = (base / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ArtifactRejected(f"'{relative}' is not a valid path of an artifact.") from error
    if os.path.isabs(relative) or path == base or not path.is_relative_to(base):
        raise ArtifactRejected(f"'{relative}' is outside the models folder.")
    return path
