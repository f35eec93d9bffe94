"""Why a file is not accepted as a model, or cannot be stored. No Django here."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
ARTIFACTS_FOLDER = "folder of the artifacts"
TEMPORARY_FOLDER = "temporary folder"


class ArtifactRejected(ValueError):
    """The file, or what the request declares about it, is not acceptable.

    `errors` maps a field of the request ("artifact", "framework", "signature", "example" or a path
    below it) to messages for the caller.
    """

    def __init__(self, message: str, *, field: str = "artifact") -> None:
        super().__init__(message)
        self.errors: dict[str, list[str]] = {field: [message]}


class ArtifactTooLarge(ArtifactRejected):
    """The file is larger than the limit."""


class StorageFull(OSError):
    """The disk has no room left for a file; the message is for the caller."""

    retry_after = 30


class StorageUnavailable(OSError):
    """A folder for files is missing or cannot be written; the message is for the caller."""

    retry_after = 30


@contextmanager
def storage_errors(folder: str) -> Iterator[None]:
    """Raise StorageFull or StorageUnavailable for an OSError, unless it says that a file exists."""
    try:
        yield
    except (FileExistsError, StorageFull, StorageUnavailable):
        raise
    except OSError as error:
        logger.error("The %s cannot be written: %s", folder, error)
        if error.errno in DISK_FULL_CODES:
            raise StorageFull(f"The {folder} has no room left. Try again later.") from error
        raise StorageUnavailable(f"The {folder} cannot be written. Try again later.") from error
