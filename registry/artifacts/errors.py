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


class StorageUnavailable(OSError):
    """A folder for files is missing or cannot be written; the message is for the caller.

    A full disk is an OSError with one of DISK_FULL_CODES instead.
    """

    retry_after = 30

    def __init__(self, folder: str) -> None:
        super().__init__(f"The {folder} cannot be written. Try again later.")


@contextmanager
def storage_errors(folder: str) -> Iterator[None]:
    """Raise StorageUnavailable for an OSError, except for a full disk and a file that exists."""
    try:
        yield
    except (FileExistsError, StorageUnavailable):
        raise
    except OSError as error:
        if error.errno in DISK_FULL_CODES:
            raise
        logger.error("The %s cannot be written: %s", folder, error)
        raise StorageUnavailable(folder) from error
