"""A folder for temporary files where only one folder can be written to, as in many containers."""

import os
import tempfile
from pathlib import Path

from django.conf import settings

FOLDER = ".temporary"


class NoTemporaryFolder(Exception):
    """No folder can be written to. The message is one line, for the operator."""


def ensure_temporary_folder() -> None:
    """Make sure that this process and its children have a folder for temporary files.

    If neither TMPDIR nor the system's folders can be written to, it is a folder below MODEL_PATH.
    Raises NoTemporaryFolder.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = Path(settings.MODEL_PATH) / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise NoTemporaryFolder(
                "There is no writable folder for temporary files: set TMPDIR to one, or make"
                f" MODEL_PATH ({settings.MODEL_PATH}) writable ({error.strerror})"
            ) from None
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
