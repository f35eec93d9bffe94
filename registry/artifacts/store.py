"""Keeps artifact files below one root, at `<name>/<version>/<random><suffix>`. No Django here."""

import hashlib
import os
import secrets
from pathlib import Path

from registry.artifacts.errors import ARTIFACTS_FOLDER, ArtifactRejected, storage_errors
from registry.artifacts.staging import INCOMING, StagedFile


def new_path(name: str, version: str, suffix: str) -> str:
    """A free path for an artifact of that version, relative to the root.

    Raises ArtifactRejected for a name or version that is not a safe folder name.
    """
    for part in (name, version, suffix):
        if part in ("", ".", "..") or part == INCOMING or "/" in part or "\0" in part:
            raise ArtifactRejected(f"'{part}' cannot be used in the path of an artifact.")
    return f"{name}/{version}/{secrets.token_hex(16)}{suffix}"


def place(staged: StagedFile, root: Path, relative: str) -> None:
    """Move a staged file to a path from `new_path`; it is there durably on return.

    Never overwrites: raises FileExistsError if the path is taken. Raises StorageUnavailable
    or StorageFull.
    """
    target = root / relative
    with storage_errors(ARTIFACTS_FOLDER):
        _link(staged.path, target)
        try:
            for folder in (target.parent, target.parent.parent, root):
                _fsync_folder(folder)
            staged.discard()
        except OSError:
            target.unlink(missing_ok=True)
            raise


def resolve(root: Path, relative: str) -> Path:
    """The absolute path of an artifact, which need not exist.

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


def remove(root: Path, relative: str) -> None:
    """Delete an artifact, and the folders of its version and name if they become empty.

    A missing file is not an error. Raises ArtifactRejected for a path outside `root`.
    """
    path = resolve(root, relative)
    path.unlink(missing_ok=True)
    base = root.resolve()
    for folder in path.parents:
        if folder == base:
            break
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            break


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link(source: Path, target: Path) -> None:
    """Hard-link `source` to the free path `target`; rename() would replace an existing file."""
    while True:
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            # `remove` may delete the empty folder between mkdir and link: create it again.
            if not source.exists():
                raise
        else:
            return


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
